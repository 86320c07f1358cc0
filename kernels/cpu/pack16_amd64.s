#include "textflag.h"

// Sixteen columns of eight rows are sixteen rows of eight: as words of 16 bits, which
// are made floats only then. Columns j and j+8 share a register, in its two halves.
// Eight rows of the same stride, AX bytes further on, are asked for meanwhile.

#define BEGIN \
	MOVQ dst+0(FP), DI; \
	MOVQ width+8(FP), DX; \
	MOVQ src+16(FP), SI; \
	MOVQ stride+24(FP), R9; \
	MOVQ blocks+32(FP), CX; \
	MOVQ ahead+40(FP), AX; \
	SHLQ $2, DX; \
	MOVQ DX, R8; \
	SHLQ $3, R8; \
	ADDQ R9, R9; \
	LEAQ (R9)(R9*2), R10

// TRANSPOSE leaves columns 0 and 8 in Y8 to 7 and 15 in Y15.
#define TRANSPOSE \
	LEAQ        (SI)(AX*1), R12; \
	LEAQ        (R12)(R9*4), R13; \
	PREFETCHT1  (R12); \
	PREFETCHT1  (R12)(R9*1); \
	PREFETCHT1  (R12)(R9*2); \
	PREFETCHT1  (R12)(R10*1); \
	PREFETCHT1  (R13); \
	PREFETCHT1  (R13)(R9*1); \
	PREFETCHT1  (R13)(R9*2); \
	PREFETCHT1  (R13)(R10*1); \
	LEAQ        (SI)(R9*4), R11; \
	VMOVDQU     (SI), Y0; \
	VMOVDQU     (SI)(R9*1), Y1; \
	VMOVDQU     (SI)(R9*2), Y2; \
	VMOVDQU     (SI)(R10*1), Y3; \
	VMOVDQU     (R11), Y4; \
	VMOVDQU     (R11)(R9*1), Y5; \
	VMOVDQU     (R11)(R9*2), Y6; \
	VMOVDQU     (R11)(R10*1), Y7; \
	VPUNPCKLWD  Y1, Y0, Y8; \
	VPUNPCKHWD  Y1, Y0, Y9; \
	VPUNPCKLWD  Y3, Y2, Y10; \
	VPUNPCKHWD  Y3, Y2, Y11; \
	VPUNPCKLWD  Y5, Y4, Y12; \
	VPUNPCKHWD  Y5, Y4, Y13; \
	VPUNPCKLWD  Y7, Y6, Y14; \
	VPUNPCKHWD  Y7, Y6, Y15; \
	VPUNPCKLDQ  Y10, Y8, Y0; \
	VPUNPCKHDQ  Y10, Y8, Y1; \
	VPUNPCKLDQ  Y11, Y9, Y2; \
	VPUNPCKHDQ  Y11, Y9, Y3; \
	VPUNPCKLDQ  Y14, Y12, Y4; \
	VPUNPCKHDQ  Y14, Y12, Y5; \
	VPUNPCKLDQ  Y15, Y13, Y6; \
	VPUNPCKHDQ  Y15, Y13, Y7; \
	VPUNPCKLQDQ Y4, Y0, Y8; \
	VPUNPCKHQDQ Y4, Y0, Y9; \
	VPUNPCKLQDQ Y5, Y1, Y10; \
	VPUNPCKHQDQ Y5, Y1, Y11; \
	VPUNPCKLQDQ Y6, Y2, Y12; \
	VPUNPCKHQDQ Y6, Y2, Y13; \
	VPUNPCKLQDQ Y7, Y3, Y14; \
	VPUNPCKHQDQ Y7, Y3, Y15

// BF stores the columns in v: a bfloat16 is the upper half of a float.
#define BF(v) \
	VPUNPCKLWD   v, Y0, Y1; \
	VPUNPCKHWD   v, Y0, Y2; \
	VMOVDQU      X1, (DI); \
	VMOVDQU      X2, 16(DI); \
	VEXTRACTI128 $1, Y1, (DI)(R8*1); \
	VEXTRACTI128 $1, Y2, 16(DI)(R8*1); \
	ADDQ         DX, DI

// func packBF16AVX2(dst *float32, width int, src *uint16, stride, blocks, ahead int)
TEXT ·packBF16AVX2(SB), NOSPLIT, $0-48
	BEGIN

loop:
	TRANSPOSE
	VPXOR Y0, Y0, Y0
	BF(Y8)
	BF(Y9)
	BF(Y10)
	BF(Y11)
	BF(Y12)
	BF(Y13)
	BF(Y14)
	BF(Y15)
	ADDQ  R8, DI
	ADDQ  $32, SI
	DECQ  CX
	JNZ   loop
	VZEROUPPER
	RET

// HF stores the columns in v, whose lower half is x.
#define HF(v, x) \
	VCVTPH2PS    x, Y1; \
	VEXTRACTI128 $1, v, X2; \
	VCVTPH2PS    X2, Y2; \
	VMOVUPS      Y1, (DI); \
	VMOVUPS      Y2, (DI)(R8*1); \
	ADDQ         DX, DI

// func packF16AVX2(dst *float32, width int, src *uint16, stride, blocks, ahead int)
TEXT ·packF16AVX2(SB), NOSPLIT, $0-48
	BEGIN

loop:
	TRANSPOSE
	HF(Y8, X8)
	HF(Y9, X9)
	HF(Y10, X10)
	HF(Y11, X11)
	HF(Y12, X12)
	HF(Y13, X13)
	HF(Y14, X14)
	HF(Y15, X15)
	ADDQ R8, DI
	ADDQ $32, SI
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET
