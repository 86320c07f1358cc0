#include "textflag.h"

// The numbers of Exp32, in its order.
DATA expNumbers<>+0(SB)/4, $0xc2ae999a // -87.3
DATA expNumbers<>+4(SB)/4, $0x42b0999a // 88.3
DATA expNumbers<>+8(SB)/4, $0x3fb8aa3b // 1.44269504
DATA expNumbers<>+12(SB)/4, $0x3f318000 // 0.693359375
DATA expNumbers<>+16(SB)/4, $0xb95e8083 // -0.00021219444
DATA expNumbers<>+20(SB)/4, $0x39506967 // 0.000198756915
DATA expNumbers<>+24(SB)/4, $0x3ab743ce // 0.0013981999507
DATA expNumbers<>+28(SB)/4, $0x3c088908 // 0.0083334519073
DATA expNumbers<>+32(SB)/4, $0x3d2aa9c1 // 0.041665795894
DATA expNumbers<>+36(SB)/4, $0x3e2aaaaa // 0.16666665459
DATA expNumbers<>+40(SB)/4, $0x3f000000 // 0.50000001201
DATA expNumbers<>+44(SB)/4, $0x3f800000 // 1.0
GLOBL expNumbers<>(SB), RODATA|NOPTR, $48

// EXPNUMBERS puts the first of them into registers.
#define EXPNUMBERS \
	LEAQ expNumbers<>(SB), AX; \
	VBROADCASTSS 0(AX), Y13; \
	VBROADCASTSS 4(AX), Y12; \
	VBROADCASTSS 8(AX), Y11; \
	VBROADCASTSS 12(AX), Y10; \
	VBROADCASTSS 16(AX), Y9; \
	VBROADCASTSS 20(AX), Y8; \
	VBROADCASTSS 24(AX), Y7; \
	VBROADCASTSS 28(AX), Y6; \
	VBROADCASTSS 32(AX), Y5

// EXP is Y2 = exp of Y0 times Y15 less Y14.
#define EXP \
	VFMSUB213PS Y14, Y15, Y0; \
	VMAXPS Y0, Y13, Y0; \ // a NaN stays one
	VMINPS Y0, Y12, Y0; \
	VMULPS Y11, Y0, Y1; \
	VROUNDPS $0, Y1, Y1; \ // n
	VFNMADD231PS Y10, Y1, Y0; \
	VFNMADD231PS Y9, Y1, Y0; \ // r
	VCVTPS2DQ Y1, Y1; \
	VMOVAPS Y8, Y2; \
	VBROADCASTSS 36(AX), Y3; \
	VFMADD213PS Y7, Y0, Y2; \
	VFMADD213PS Y6, Y0, Y2; \
	VFMADD213PS Y5, Y0, Y2; \
	VFMADD213PS Y3, Y0, Y2; \
	VBROADCASTSS 40(AX), Y3; \
	VFMADD213PS Y3, Y0, Y2; \
	VMULPS Y0, Y0, Y3; \
	VFMADD213PS Y0, Y3, Y2; \
	VBROADCASTSS 44(AX), Y3; \
	VADDPS Y3, Y2, Y2; \
	VPSLLD $23, Y1, Y1; \ // times 2^n, in the exponent
	VPADDD Y1, Y2, Y2

// Eight at a time; bound by the multiply-adds.
//
// func expScaledFMA(n int, y, x *float32, scale, shift float32)
TEXT ·expScaledFMA(SB), NOSPLIT, $0-32
	MOVQ n+0(FP), CX
	MOVQ y+8(FP), DI
	MOVQ x+16(FP), SI
	VBROADCASTSS scale+24(FP), Y15
	VBROADCASTSS shift+28(FP), Y14
	EXPNUMBERS

loop:
	VMOVUPS (SI), Y0
	EXP
	VMOVUPS Y2, (DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ  loop
	VZEROUPPER
	RET
