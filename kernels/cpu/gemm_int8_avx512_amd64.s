#include "textflag.h"

// A 12x32 tile in registers, as in tile_avx512_amd64.s, of int32: Z8..Z31. A step
// takes a pair of k: 32 pairs of b in Z0 and Z1, each of the 12 pairs of a in all
// lanes of Z2. ADDED multiplies and then adds; FUSED, for AVX512-VNNI, does both at
// once.
#define ADDED(offset, lo, hi) \
	VPBROADCASTD offset(AX), Z2; \
	VPMADDWD     Z0, Z2, Z3; \
	VPMADDWD     Z1, Z2, Z2; \
	VPADDD       Z3, lo, lo; \
	VPADDD       Z2, hi, hi

#define FUSED(offset, lo, hi) \
	VPBROADCASTD offset(AX), Z2; \
	VPDPWSSD     Z0, Z2, lo; \
	VPDPWSSD     Z1, Z2, hi

#define STEP(ROW, a, b) \
	VMOVDQU32 (b)(BX), Z0; \
	VMOVDQU32 (b+64)(BX), Z1; \
	ROW(a, Z8, Z9); \
	ROW(a+4, Z10, Z11); \
	ROW(a+8, Z12, Z13); \
	ROW(a+12, Z14, Z15); \
	ROW(a+16, Z16, Z17); \
	ROW(a+20, Z18, Z19); \
	ROW(a+24, Z20, Z21); \
	ROW(a+28, Z22, Z23); \
	ROW(a+32, Z24, Z25); \
	ROW(a+36, Z26, Z27); \
	ROW(a+40, Z28, Z29); \
	ROW(a+44, Z30, Z31)

// SCALED adds a row's sums, times their scale, to c, and moves on by a row.
#define SCALED(offset, lo, hi) \
	VBROADCASTSS offset(R8), Z0; \
	VCVTDQ2PS    lo, lo; \
	VCVTDQ2PS    hi, hi; \
	VMULPS       Z0, lo, lo; \
	VMULPS       Z0, hi, hi; \
	VADDPS       (DX), lo, lo; \
	VADDPS       64(DX), hi, hi; \
	VMOVUPS      lo, (DX); \
	VMOVUPS      hi, 64(DX); \
	ADDQ         SI, DX

#define BEGIN \
	MOVQ  c+0(FP), DI; \
	MOVQ  ldc+8(FP), SI; \
	SHLQ  $2, SI; \
	MOVQ  a+16(FP), AX; \
	MOVQ  b+24(FP), BX; \
	MOVQ  scales+32(FP), R8; \
	MOVQ  k+40(FP), CX; \
	CMPB  add+48(FP), $0; \
	JNE   group; \
	MOVQ  DI, DX; \
	MOVQ  $12, R9; \
	VPXOR X0, X0, X0

#define CLEAR \
	VMOVUPS Z0, (DX); \
	VMOVUPS Z0, 64(DX); \
	ADDQ    SI, DX; \
	DECQ    R9

#define GROUP \
	MOVQ    $64, DX; \
	CMPQ    CX, DX; \
	CMOVQLT CX, DX; \
	SUBQ    DX, CX; \
	VPXORD  Z8, Z8, Z8; \
	VPXORD  Z9, Z9, Z9; \
	VPXORD  Z10, Z10, Z10; \
	VPXORD  Z11, Z11, Z11; \
	VPXORD  Z12, Z12, Z12; \
	VPXORD  Z13, Z13, Z13; \
	VPXORD  Z14, Z14, Z14; \
	VPXORD  Z15, Z15, Z15; \
	VPXORD  Z16, Z16, Z16; \
	VPXORD  Z17, Z17, Z17; \
	VPXORD  Z18, Z18, Z18; \
	VPXORD  Z19, Z19, Z19; \
	VPXORD  Z20, Z20, Z20; \
	VPXORD  Z21, Z21, Z21; \
	VPXORD  Z22, Z22, Z22; \
	VPXORD  Z23, Z23, Z23; \
	VPXORD  Z24, Z24, Z24; \
	VPXORD  Z25, Z25, Z25; \
	VPXORD  Z26, Z26, Z26; \
	VPXORD  Z27, Z27, Z27; \
	VPXORD  Z28, Z28, Z28; \
	VPXORD  Z29, Z29, Z29; \
	VPXORD  Z30, Z30, Z30; \
	VPXORD  Z31, Z31, Z31

#define STEPS(ROW) \
	STEP(ROW, 0, 0); \
	STEP(ROW, 48, 128); \
	ADDQ $96, AX; \
	ADDQ $256, BX; \
	SUBQ $2, DX

#define END \
	MOVQ DI, DX; \
	SCALED(0, Z8, Z9); \
	SCALED(4, Z10, Z11); \
	SCALED(8, Z12, Z13); \
	SCALED(12, Z14, Z15); \
	SCALED(16, Z16, Z17); \
	SCALED(20, Z18, Z19); \
	SCALED(24, Z20, Z21); \
	SCALED(28, Z22, Z23); \
	SCALED(32, Z24, Z25); \
	SCALED(36, Z26, Z27); \
	SCALED(40, Z28, Z29); \
	SCALED(44, Z30, Z31); \
	ADDQ  $48, R8; \
	TESTQ CX, CX

// func tileInt8AVX512(c *float32, ldc int, a, b, scales *float32, k int, add bool)
TEXT ·tileInt8AVX512(SB), NOSPLIT, $0-49
	BEGIN

clear:
	CLEAR
	JNZ clear

group:
	GROUP

steps:
	STEPS(ADDED)
	JG  steps
	END
	JNZ group
	VZEROUPPER
	RET

// func tileInt8VNNI(c *float32, ldc int, a, b, scales *float32, k int, add bool)
TEXT ·tileInt8VNNI(SB), NOSPLIT, $0-49
	BEGIN

clear:
	CLEAR
	JNZ clear

group:
	GROUP

steps:
	STEPS(FUSED)
	JG  steps
	END
	JNZ group
	VZEROUPPER
	RET
