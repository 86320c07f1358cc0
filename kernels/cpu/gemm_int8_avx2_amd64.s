#include "textflag.h"

// A 6x16 tile in registers, as in tile_avx2_amd64.s, of int32: Y4..Y15. A step takes
// a pair of k: 16 pairs of b in Y0 and Y1, each of the 6 pairs of a in all lanes of
// Y2: 24 operations for 192 products.
#define ROW(offset, lo, hi) \
	VPBROADCASTD offset(AX), Y2; \
	VPMADDWD     Y0, Y2, Y3; \
	VPMADDWD     Y1, Y2, Y2; \
	VPADDD       Y3, lo, lo; \
	VPADDD       Y2, hi, hi

#define STEP(a, b) \
	VMOVDQU (b)(BX), Y0; \
	VMOVDQU (b+32)(BX), Y1; \
	ROW(a, Y4, Y5); \
	ROW(a+4, Y6, Y7); \
	ROW(a+8, Y8, Y9); \
	ROW(a+12, Y10, Y11); \
	ROW(a+16, Y12, Y13); \
	ROW(a+20, Y14, Y15)

// SCALED adds a row's sums, times their scale, to c, and moves on by a row.
#define SCALED(offset, lo, hi) \
	VBROADCASTSS offset(R8), Y0; \
	VCVTDQ2PS    lo, lo; \
	VCVTDQ2PS    hi, hi; \
	VMULPS       Y0, lo, lo; \
	VMULPS       Y0, hi, hi; \
	VADDPS       (DX), lo, lo; \
	VADDPS       32(DX), hi, hi; \
	VMOVUPS      lo, (DX); \
	VMOVUPS      hi, 32(DX); \
	ADDQ         SI, DX

#define CLEAR \
	VMOVUPS Y0, (DX); \
	VMOVUPS Y0, 32(DX); \
	ADDQ    SI, DX

// func tileInt8AVX2(c *float32, ldc int, a, b, scales *float32, k int, add bool)
TEXT ·tileInt8AVX2(SB), NOSPLIT, $0-49
	MOVQ c+0(FP), DI
	MOVQ ldc+8(FP), SI
	SHLQ $2, SI
	MOVQ a+16(FP), AX
	MOVQ b+24(FP), BX
	MOVQ scales+32(FP), R8
	MOVQ k+40(FP), CX
	CMPB add+48(FP), $0
	JNE  group
	MOVQ DI, DX
	VXORPS Y0, Y0, Y0
	CLEAR
	CLEAR
	CLEAR
	CLEAR
	CLEAR
	CLEAR

group:
	MOVQ    $64, DX
	CMPQ    CX, DX
	CMOVQLT CX, DX
	SUBQ    DX, CX
	VPXOR   Y4, Y4, Y4
	VPXOR   Y5, Y5, Y5
	VPXOR   Y6, Y6, Y6
	VPXOR   Y7, Y7, Y7
	VPXOR   Y8, Y8, Y8
	VPXOR   Y9, Y9, Y9
	VPXOR   Y10, Y10, Y10
	VPXOR   Y11, Y11, Y11
	VPXOR   Y12, Y12, Y12
	VPXOR   Y13, Y13, Y13
	VPXOR   Y14, Y14, Y14
	VPXOR   Y15, Y15, Y15

four:
	STEP(0, 0)
	STEP(24, 64)
	STEP(48, 128)
	STEP(72, 192)
	ADDQ $96, AX
	ADDQ $256, BX
	SUBQ $4, DX
	JG   four

	MOVQ  DI, DX
	SCALED(0, Y4, Y5)
	SCALED(4, Y6, Y7)
	SCALED(8, Y8, Y9)
	SCALED(12, Y10, Y11)
	SCALED(16, Y12, Y13)
	SCALED(20, Y14, Y15)
	ADDQ  $24, R8
	TESTQ CX, CX
	JNZ   group
	VZEROUPPER
	RET
