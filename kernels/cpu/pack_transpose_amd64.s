#include "textflag.h"

// Row i and row i+4 share a register, four floats of each: then the transposition
// of 8x8 is two of 4x4 at once.
#define LOAD(row, other, xmm, ymm, column) \
	VMOVUPS     column row, xmm; \
	VINSERTF128 $1, column other, ymm, ymm

// FOUR transposes four columns, from the given byte of the rows on.
#define FOUR(column) \
	LOAD((SI), (R8), X0, Y0, column); \
	LOAD((SI)(DX*1), (R8)(DX*1), X1, Y1, column); \
	LOAD((SI)(DX*2), (R8)(DX*2), X2, Y2, column); \
	LOAD((SI)(R9*1), (R8)(R9*1), X3, Y3, column); \
	VUNPCKLPS   Y1, Y0, Y4; \
	VUNPCKHPS   Y1, Y0, Y5; \
	VUNPCKLPS   Y3, Y2, Y6; \
	VUNPCKHPS   Y3, Y2, Y7; \
	VUNPCKLPD   Y6, Y4, Y0; \
	VUNPCKHPD   Y6, Y4, Y1; \
	VUNPCKLPD   Y7, Y5, Y2; \
	VUNPCKHPD   Y7, Y5, Y3; \
	VMOVUPS     Y0, (DI); \
	VMOVUPS     Y1, (DI)(BX*1); \
	VMOVUPS     Y2, (DI)(BX*2); \
	VMOVUPS     Y3, (DI)(R10*1); \
	LEAQ        (DI)(BX*4), DI

// func transpose8AVX2(dst *float32, width int, src *float32, stride, k int)
TEXT ·transpose8AVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ width+8(FP), BX
	SHLQ $2, BX
	LEAQ (BX)(BX*2), R10
	MOVQ src+16(FP), SI
	MOVQ stride+24(FP), DX
	SHLQ $2, DX
	LEAQ (DX)(DX*2), R9
	LEAQ (SI)(DX*4), R8
	MOVQ k+32(FP), CX

eight:
	FOUR(0)
	FOUR(16)
	ADDQ $32, SI
	ADDQ $32, R8
	SUBQ $8, CX
	JNZ  eight
	VZEROUPPER
	RET
