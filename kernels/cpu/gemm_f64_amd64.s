#include "textflag.h"

// A 4x12 tile in registers: Y0..Y11 hold its rows, three registers each. A step takes one
// k: 12 numbers of b in Y12, Y13 and Y14, and each of the 4 numbers of a in all lanes of Y15:
// 7 loads for 12 multiply-adds.
#define ROW(offset, x, y, z) \
	VBROADCASTSD offset(AX), Y15; \
	VFMADD231PD  Y12, Y15, x; \
	VFMADD231PD  Y13, Y15, y; \
	VFMADD231PD  Y14, Y15, z

#define CLEAR(x, y, z) \
	VXORPD x, x, x; \
	VXORPD y, y, y; \
	VXORPD z, z, z

// ADD adds a row's registers to c and moves on by a row.
#define ADD(x, y, z) \
	VADDPD  (DI), x, x; \
	VADDPD  32(DI), y, y; \
	VADDPD  64(DI), z, z; \
	VMOVUPD x, (DI); \
	VMOVUPD y, 32(DI); \
	VMOVUPD z, 64(DI); \
	ADDQ    SI, DI

// func tileF64AVX2(c *float64, ldc int, a, b *float64, k int)
TEXT ·tileF64AVX2(SB), NOSPLIT, $0-40
	MOVQ c+0(FP), DI
	MOVQ ldc+8(FP), SI
	SHLQ $3, SI
	MOVQ a+16(FP), AX
	MOVQ b+24(FP), BX
	MOVQ k+32(FP), CX
	CLEAR(Y0, Y1, Y2)
	CLEAR(Y3, Y4, Y5)
	CLEAR(Y6, Y7, Y8)
	CLEAR(Y9, Y10, Y11)

step:
	VMOVUPD (BX), Y12
	VMOVUPD 32(BX), Y13
	VMOVUPD 64(BX), Y14
	ROW(0, Y0, Y1, Y2)
	ROW(8, Y3, Y4, Y5)
	ROW(16, Y6, Y7, Y8)
	ROW(24, Y9, Y10, Y11)
	ADDQ $32, AX
	ADDQ $96, BX
	DECQ CX
	JNZ  step

	ADD(Y0, Y1, Y2)
	ADD(Y3, Y4, Y5)
	ADD(Y6, Y7, Y8)
	ADD(Y9, Y10, Y11)
	VZEROUPPER
	RET
