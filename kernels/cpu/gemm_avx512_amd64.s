#include "textflag.h"

// A 12x32 tile in registers: Z8..Z31 hold its rows, two registers each. A step
// takes one k: 32 floats of b in Z0 and Z1, and each of the 12 floats of a in all
// lanes of one of Z2..Z5: 14 loads for 24 multiply-adds.
//
// ROW adds a[k, r] * b[k, :] to the row's two registers.
#define ROW(offset, t, lo, hi) \
	VBROADCASTSS offset(AX), t; \
	VFMADD231PS  Z0, t, lo; \
	VFMADD231PS  Z1, t, hi

#define STEP(a, b) \
	VMOVUPS (b)(BX), Z0; \
	VMOVUPS (b+64)(BX), Z1; \
	ROW(a+0, Z2, Z8, Z9); \
	ROW(a+4, Z3, Z10, Z11); \
	ROW(a+8, Z4, Z12, Z13); \
	ROW(a+12, Z5, Z14, Z15); \
	ROW(a+16, Z2, Z16, Z17); \
	ROW(a+20, Z3, Z18, Z19); \
	ROW(a+24, Z4, Z20, Z21); \
	ROW(a+28, Z5, Z22, Z23); \
	ROW(a+32, Z2, Z24, Z25); \
	ROW(a+36, Z3, Z26, Z27); \
	ROW(a+40, Z4, Z28, Z29); \
	ROW(a+44, Z5, Z30, Z31)

// ADD adds a row of c to its registers and moves on by a row.
#define ADD(lo, hi) \
	VADDPS (DX), lo, lo; \
	VADDPS 64(DX), hi, hi; \
	ADDQ   SI, DX

#define STORE(lo, hi) \
	VMOVUPS lo, (DI); \
	VMOVUPS hi, 64(DI); \
	ADDQ    SI, DI

// func tileAVX512(c *float32, ldc int, a, b *float32, k int, add bool, next unsafe.Pointer, step int)
TEXT ·tileAVX512(SB), NOSPLIT, $0-64
	MOVQ c+0(FP), DI
	MOVQ ldc+8(FP), SI
	SHLQ $2, SI
	MOVQ a+16(FP), AX
	MOVQ b+24(FP), BX
	MOVQ k+32(FP), CX
	MOVQ next+48(FP), R9
	MOVQ step+56(FP), R10
	VPXORD Z8, Z8, Z8
	VPXORD Z9, Z9, Z9
	VPXORD Z10, Z10, Z10
	VPXORD Z11, Z11, Z11
	VPXORD Z12, Z12, Z12
	VPXORD Z13, Z13, Z13
	VPXORD Z14, Z14, Z14
	VPXORD Z15, Z15, Z15
	VPXORD Z16, Z16, Z16
	VPXORD Z17, Z17, Z17
	VPXORD Z18, Z18, Z18
	VPXORD Z19, Z19, Z19
	VPXORD Z20, Z20, Z20
	VPXORD Z21, Z21, Z21
	VPXORD Z22, Z22, Z22
	VPXORD Z23, Z23, Z23
	VPXORD Z24, Z24, Z24
	VPXORD Z25, Z25, Z25
	VPXORD Z26, Z26, Z26
	VPXORD Z27, Z27, Z27
	VPXORD Z28, Z28, Z28
	VPXORD Z29, Z29, Z29
	VPXORD Z30, Z30, Z30
	VPXORD Z31, Z31, Z31
	MOVQ DI, DX
	MOVQ $12, R8

fetch: // the tile's part of c, which the multiplications below take long to come to
	PREFETCHT0 (DX)
	PREFETCHT0 64(DX)
	ADDQ SI, DX
	DECQ R8
	JNZ  fetch
	SUBQ $4, CX
	JL   tail

four:
	PREFETCHT1 (R9)
	ADDQ R10, R9
	STEP(0, 0)
	STEP(48, 128)
	STEP(96, 256)
	STEP(144, 384)
	ADDQ $192, AX
	ADDQ $512, BX
	SUBQ $4, CX
	JGE  four

tail:
	ADDQ $4, CX
	JZ   done

one:
	STEP(0, 0)
	ADDQ $48, AX
	ADDQ $128, BX
	DECQ CX
	JNZ  one

done:
	CMPB add+40(FP), $0
	JEQ  store
	MOVQ DI, DX
	ADD(Z8, Z9)
	ADD(Z10, Z11)
	ADD(Z12, Z13)
	ADD(Z14, Z15)
	ADD(Z16, Z17)
	ADD(Z18, Z19)
	ADD(Z20, Z21)
	ADD(Z22, Z23)
	ADD(Z24, Z25)
	ADD(Z26, Z27)
	ADD(Z28, Z29)
	ADD(Z30, Z31)

store:
	STORE(Z8, Z9)
	STORE(Z10, Z11)
	STORE(Z12, Z13)
	STORE(Z14, Z15)
	STORE(Z16, Z17)
	STORE(Z18, Z19)
	STORE(Z20, Z21)
	STORE(Z22, Z23)
	STORE(Z24, Z25)
	STORE(Z26, Z27)
	STORE(Z28, Z29)
	STORE(Z30, Z31)
	VZEROUPPER
	RET
