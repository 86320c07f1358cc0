#include "textflag.h"

// func maxAbsAVX2(x *float32, n int) uint32
TEXT ·maxAbsAVX2(SB), NOSPLIT, $0-20
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

// func rescaleAVX2(y, z, w *float32, n int, add bool)
TEXT ·rescaleAVX2(SB), NOSPLIT, $0-33
	MOVQ y+0(FP), DI
	MOVQ z+8(FP), SI
	MOVQ w+16(FP), DX
	MOVQ n+24(FP), CX
	CMPB add+32(FP), $0
	JEQ  set

sum:
	VMOVUPS (SI), Y0
	VMULPS  (DX), Y0, Y0
	VADDPS  (DI), Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DX
	ADDQ    $32, DI
	SUBQ    $8, CX
	JNZ     sum
	VZEROUPPER
	RET

set:
	VMOVUPS (SI), Y0
	VMULPS  (DX), Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DX
	ADDQ    $32, DI
	SUBQ    $8, CX
	JNZ     set
	VZEROUPPER
	RET

// As in transpose_amd64.s, row i and row i+4 share a register, here as four pairs of
// int16s each; SIXTEEN reads 16 bytes of both, of which the first eight go to lo.
#define SIXTEEN(row, other, t, lo, hi) \
	VMOVDQU     row, t; \
	VMOVDQU     other, X9; \
	VPUNPCKHQDQ X9, t, hi; \
	VPUNPCKLQDQ X9, t, lo

// FOUR writes four columns of pairs, which are 64 bytes of rows in a, b, c and d.
#define FOUR(a, b, c, d) \
	VPMOVSXBW  a, Y0; \
	VPMOVSXBW  b, Y1; \
	VPMOVSXBW  c, Y2; \
	VPMOVSXBW  d, Y3; \
	VPUNPCKLDQ Y1, Y0, Y8; \
	VPUNPCKHDQ Y1, Y0, Y9; \
	VPUNPCKLDQ Y3, Y2, Y10; \
	VPUNPCKHDQ Y3, Y2, Y11; \
	VPUNPCKLQDQ Y10, Y8, Y0; \
	VPUNPCKHQDQ Y10, Y8, Y1; \
	VPUNPCKLQDQ Y11, Y9, Y2; \
	VPUNPCKHQDQ Y11, Y9, Y3; \
	VMOVDQU    Y0, (DI); \
	VMOVDQU    Y1, (DI)(BX*1); \
	VMOVDQU    Y2, (DI)(BX*2); \
	VMOVDQU    Y3, (DI)(R10*1); \
	LEAQ       (DI)(BX*4), DI

// func packInt8AVX2(dst *float32, width int, w *int8, stride, k int)
TEXT ·packInt8AVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ width+8(FP), BX
	SHLQ $2, BX
	LEAQ (BX)(BX*2), R10
	MOVQ w+16(FP), SI
	MOVQ stride+24(FP), DX
	LEAQ (DX)(DX*2), R9
	LEAQ (SI)(DX*4), R8
	MOVQ k+32(FP), CX

sixteen:
	SIXTEEN((SI), (R8), X0, X0, X4)
	SIXTEEN((SI)(DX*1), (R8)(DX*1), X1, X1, X5)
	SIXTEEN((SI)(DX*2), (R8)(DX*2), X2, X2, X6)
	SIXTEEN((SI)(R9*1), (R8)(R9*1), X3, X3, X7)
	FOUR(X0, X1, X2, X3)
	FOUR(X4, X5, X6, X7)
	ADDQ $16, SI
	ADDQ $16, R8
	SUBQ $16, CX
	JNZ  sixteen
	VZEROUPPER
	RET

// Four rows at R8..R11, then those that follow each of them, R12 times; their sums of the
// present group in Y0..Y3, of groups in X8. Rows are asked for AX bytes ahead.
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

// func dotsInt8AVX2(out *[4]float32, rows *[MaxStreams]unsafe.Pointer, x *int16, scales *float32, n, count, ahead int)
TEXT ·dotsInt8AVX2(SB), NOSPLIT, $0-56
	MOVQ  rows+8(FP), AX
	MOVQ  0(AX), R8
	MOVQ  8(AX), R9
	MOVQ  16(AX), R10
	MOVQ  24(AX), R11
	MOVQ  out+0(FP), DI
	MOVQ  count+40(FP), R12
	MOVQ  ahead+48(FP), AX

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
	PREFETCHT0 (R8)(AX*1)
	PREFETCHT0 (R9)(AX*1)
	PREFETCHT0 (R10)(AX*1)
	PREFETCHT0 (R11)(AX*1)
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
