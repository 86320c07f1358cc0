#include "textflag.h"

// A 6x16 tile in registers: Y4..Y15 hold its rows, two registers each. A step
// takes one k: 16 floats of b in Y0 and Y1, and each of the 6 floats of a in all
// lanes of Y2 or Y3: 8 loads for 12 multiply-adds.
//
// ROW adds a[k, r] * b[k, :] to the row's two registers.
#define ROW(offset, t, lo, hi) \
	VBROADCASTSS offset(AX), t; \
	VFMADD231PS  Y0, t, lo; \
	VFMADD231PS  Y1, t, hi

#define STEP(a, b) \
	VMOVUPS (b)(BX), Y0; \
	VMOVUPS (b+32)(BX), Y1; \
	ROW(a, Y2, Y4, Y5); \
	ROW(a+4, Y3, Y6, Y7); \
	ROW(a+8, Y2, Y8, Y9); \
	ROW(a+12, Y3, Y10, Y11); \
	ROW(a+16, Y2, Y12, Y13); \
	ROW(a+20, Y3, Y14, Y15)

// ADD adds a row of c to its registers and moves on by a row.
#define ADD(lo, hi) \
	VADDPS (DX), lo, lo; \
	VADDPS 32(DX), hi, hi; \
	ADDQ   SI, DX

#define STORE(lo, hi) \
	VMOVUPS lo, (DI); \
	VMOVUPS hi, 32(DI); \
	ADDQ    SI, DI

// func tileAVX2(c *float32, ldc int, a, b *float32, k int, add bool, next unsafe.Pointer, step int)
TEXT ·tileAVX2(SB), NOSPLIT, $0-64
	MOVQ c+0(FP), DI
	MOVQ ldc+8(FP), SI
	SHLQ $2, SI
	MOVQ a+16(FP), AX
	MOVQ b+24(FP), BX
	MOVQ k+32(FP), CX
	MOVQ next+48(FP), R9
	MOVQ step+56(FP), R10
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	VXORPS Y12, Y12, Y12
	VXORPS Y13, Y13, Y13
	VXORPS Y14, Y14, Y14
	VXORPS Y15, Y15, Y15
	MOVQ DI, DX
	MOVQ $6, R8

fetch: // the tile's part of c, which the multiplications below take long to come to
	PREFETCHT0 (DX)
	PREFETCHT0 60(DX)
	ADDQ SI, DX
	DECQ R8
	JNZ  fetch
	SUBQ $4, CX
	JL   tail

four:
	PREFETCHT1 (R9)
	ADDQ R10, R9
	STEP(0, 0)
	STEP(24, 64)
	STEP(48, 128)
	STEP(72, 192)
	ADDQ $96, AX
	ADDQ $256, BX
	SUBQ $4, CX
	JGE  four

tail:
	ADDQ $4, CX
	JZ   done

one:
	STEP(0, 0)
	ADDQ $24, AX
	ADDQ $64, BX
	DECQ CX
	JNZ  one

done:
	CMPB add+40(FP), $0
	JEQ  store
	MOVQ DI, DX
	ADD(Y4, Y5)
	ADD(Y6, Y7)
	ADD(Y8, Y9)
	ADD(Y10, Y11)
	ADD(Y12, Y13)
	ADD(Y14, Y15)

store:
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	STORE(Y12, Y13)
	STORE(Y14, Y15)
	VZEROUPPER
	RET
