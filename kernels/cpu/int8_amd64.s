#include "textflag.h"

// func mostAVX2(x *float32, n int) uint32
TEXT ·mostAVX2(SB), NOSPLIT, $0-20
	MOVQ     x+0(FP), AX
	MOVQ     n+8(FP), CX
	VPCMPEQD Y2, Y2, Y2
	VPSRLD   $1, Y2, Y2
	VPXOR    Y0, Y0, Y0

loop:
	VPAND   (AX), Y2, Y1
	VPMAXUD Y1, Y0, Y0
	ADDQ    $32, AX
	SUBQ    $8, CX
	JG      loop

	VEXTRACTI128 $1, Y0, X1
	VPMAXUD      X1, X0, X0
	VPSHUFD      $0x4e, X0, X1
	VPMAXUD      X1, X0, X0
	VPSHUFD      $0xb1, X0, X1
	VPMAXUD      X1, X0, X0
	VMOVD        X0, AX
	MOVL         AX, ret+16(FP)
	VZEROUPPER
	RET

// func toInt16AVX2(q *int16, x *float32, n int, factor float32)
TEXT ·toInt16AVX2(SB), NOSPLIT, $0-28
	MOVQ         q+0(FP), DI
	MOVQ         x+8(FP), AX
	MOVQ         n+16(FP), CX
	VBROADCASTSS factor+24(FP), Y2

loop:
	VMULPS    (AX), Y2, Y0
	VMULPS    32(AX), Y2, Y1
	VCVTPS2DQ Y0, Y0
	VCVTPS2DQ Y1, Y1
	VPACKSSDW Y1, Y0, Y0
	VPERMQ    $0xd8, Y0, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $64, AX
	ADDQ      $32, DI
	SUBQ      $16, CX
	JG        loop
	VZEROUPPER
	RET

// func widenInt16AVX2(dst *int16, w *int8, n int)
TEXT ·widenInt16AVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ w+8(FP), AX
	MOVQ n+16(FP), CX

loop:
	VPMOVSXBW (AX), Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $16, AX
	ADDQ      $32, DI
	SUBQ      $16, CX
	JG        loop
	VZEROUPPER
	RET

// Four rows at R8..R11, then those that follow each of them, R12 times; their sums of the present group in Y0..Y3, of groups in X8.
// A step takes 16 bytes of a row as int16s, and 16 activations, in Y4 or Y5: three
// operations for 16 products.
#define ROW(at, row, sum) \
	VPMOVSXBW at(row), Y6; \
	VPMOVSXBW (at+16)(row), Y7; \
	VPMADDWD  Y4, Y6, Y6; \
	VPMADDWD  Y5, Y7, Y7; \
	VPADDD    Y6, sum, sum; \
	VPADDD    Y7, sum, sum

#define ROWS(at) \
	VMOVDQU (2*at)(BX), Y4; \
	VMOVDQU (2*at+32)(BX), Y5; \
	ROW(at, R8, Y0); \
	ROW(at, R9, Y1); \
	ROW(at, R10, Y2); \
	ROW(at, R11, Y3)

// func dotsInt8AVX2(out *[4]float32, rows *[4]unsafe.Pointer, x *int16, scales *float32, n, count int)
TEXT ·dotsInt8AVX2(SB), NOSPLIT, $0-48
	MOVQ  rows+8(FP), AX
	MOVQ  0(AX), R8
	MOVQ  8(AX), R9
	MOVQ  16(AX), R10
	MOVQ  24(AX), R11
	MOVQ  out+0(FP), DI
	MOVQ  count+40(FP), R12

rows:
	MOVQ  x+16(FP), BX
	MOVQ  scales+24(FP), SI
	MOVQ  n+32(FP), CX
	VPXOR X8, X8, X8

group:
	MOVQ    $128, DX
	CMPQ    CX, DX
	CMOVQLT CX, DX
	SUBQ    DX, CX
	VPXOR   Y0, Y0, Y0
	VPXOR   Y1, Y1, Y1
	VPXOR   Y2, Y2, Y2
	VPXOR   Y3, Y3, Y3

line:
	// What is 2 KiB further on: see dots_avx2_amd64.s.
	PREFETCHT0 2048(R8)
	PREFETCHT0 2048(R9)
	PREFETCHT0 2048(R10)
	PREFETCHT0 2048(R11)
	ROWS(0)
	ROWS(32)
	ADDQ       $64, R8
	ADDQ       $64, R9
	ADDQ       $64, R10
	ADDQ       $64, R11
	ADDQ       $128, BX
	SUBQ       $64, DX
	JG         line

	VPHADDD      Y1, Y0, Y0
	VPHADDD      Y3, Y2, Y2
	VPHADDD      Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD       X1, X0, X0
	VCVTDQ2PS    X0, X0
	VBROADCASTSS (SI), X1
	VMULPS       X1, X0, X0
	VADDPS       X0, X8, X8
	ADDQ         $4, SI
	TESTQ        CX, CX
	JNZ          group

	VMOVUPS X8, (DI)
	ADDQ    $16, DI
	DECQ    R12
	JNZ     rows
	VZEROUPPER
	RET
