#include "textflag.h"

// LOAD reads a row's next 16 pairs, of each the elements of K3.
#define LOAD(i, z) \
	MOVQ        (8*i)(R8), R9; \
	VMOVDQU16.Z (R9)(DX*1), K3, z

// ROWS2 joins two rows' 32-bit elements, ROWS4 two such pairs' 64-bit ones: then a
// register has a column of four rows in each quarter.
#define ROWS2(a, b, lo, hi) \
	VPUNPCKLDQ b, a, lo; \
	VPUNPCKHDQ b, a, hi

#define ROWS4(a, b, lo, hi) \
	VPUNPCKLQDQ b, a, lo; \
	VPUNPCKHQDQ b, a, hi

// QUARTERS joins the even quarters of two registers, and the odd ones.
#define QUARTERS(a, b, lo, hi) \
	VSHUFI32X4 $0x88, b, a, lo; \
	VSHUFI32X4 $0xdd, b, a, hi

// COLUMNS is QUARTERS for the last time, only in the lanes of K2.
#define COLUMNS(a, b, lo, hi) \
	VSHUFI32X4.Z $0x88, b, a, K2, lo; \
	VSHUFI32X4.Z $0xdd, b, a, K2, hi

#define STORE(z) \
	VMOVDQU32 z, K1, (DI); \
	ADDQ      BX, DI

// func transposePairs(dst *uint32, width int, rows *[16]unsafe.Pointer, n int, store, keep uint16, words uint32)
TEXT ·transposePairs(SB), NOSPLIT, $0-40
	MOVQ  dst+0(FP), DI
	MOVQ  width+8(FP), BX
	SHLQ  $2, BX
	MOVQ  rows+16(FP), R8
	MOVQ  n+24(FP), CX
	KMOVW store+32(FP), K1
	KMOVW keep+34(FP), K2
	MOVL  words+36(FP), R9
	KMOVD R9, K3
	XORQ  DX, DX

sixteen:
	LOAD(0, Z0)
	LOAD(1, Z1)
	LOAD(2, Z2)
	LOAD(3, Z3)
	LOAD(4, Z4)
	LOAD(5, Z5)
	LOAD(6, Z6)
	LOAD(7, Z7)
	LOAD(8, Z8)
	LOAD(9, Z9)
	LOAD(10, Z10)
	LOAD(11, Z11)
	LOAD(12, Z12)
	LOAD(13, Z13)
	LOAD(14, Z14)
	LOAD(15, Z15)
	ROWS2(Z0, Z1, Z16, Z17)
	ROWS2(Z2, Z3, Z18, Z19)
	ROWS2(Z4, Z5, Z20, Z21)
	ROWS2(Z6, Z7, Z22, Z23)
	ROWS2(Z8, Z9, Z24, Z25)
	ROWS2(Z10, Z11, Z26, Z27)
	ROWS2(Z12, Z13, Z28, Z29)
	ROWS2(Z14, Z15, Z30, Z31)
	ROWS4(Z16, Z18, Z0, Z1)
	ROWS4(Z17, Z19, Z2, Z3)
	ROWS4(Z20, Z22, Z4, Z5)
	ROWS4(Z21, Z23, Z6, Z7)
	ROWS4(Z24, Z26, Z8, Z9)
	ROWS4(Z25, Z27, Z10, Z11)
	ROWS4(Z28, Z30, Z12, Z13)
	ROWS4(Z29, Z31, Z14, Z15)
	QUARTERS(Z0, Z4, Z16, Z20)
	QUARTERS(Z1, Z5, Z17, Z21)
	QUARTERS(Z2, Z6, Z18, Z22)
	QUARTERS(Z3, Z7, Z19, Z23)
	QUARTERS(Z8, Z12, Z24, Z28)
	QUARTERS(Z9, Z13, Z25, Z29)
	QUARTERS(Z10, Z14, Z26, Z30)
	QUARTERS(Z11, Z15, Z27, Z31)
	COLUMNS(Z16, Z24, Z0, Z8)
	COLUMNS(Z17, Z25, Z1, Z9)
	COLUMNS(Z18, Z26, Z2, Z10)
	COLUMNS(Z19, Z27, Z3, Z11)
	COLUMNS(Z20, Z28, Z4, Z12)
	COLUMNS(Z21, Z29, Z5, Z13)
	COLUMNS(Z22, Z30, Z6, Z14)
	COLUMNS(Z23, Z31, Z7, Z15)
	STORE(Z0)
	STORE(Z1)
	STORE(Z2)
	STORE(Z3)
	STORE(Z4)
	STORE(Z5)
	STORE(Z6)
	STORE(Z7)
	STORE(Z8)
	STORE(Z9)
	STORE(Z10)
	STORE(Z11)
	STORE(Z12)
	STORE(Z13)
	STORE(Z14)
	STORE(Z15)
	ADDQ $64, DX
	SUBQ $16, CX
	JNZ  sixteen
	VZEROUPPER
	RET

// func interleavePairs(dst *uint32, src *uint16, stride, n int)
TEXT ·interleavePairs(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ stride+16(FP), DX
	SHLQ $1, DX
	MOVQ n+24(FP), CX

loop:
	VPMOVZXWD (SI), Z0
	VPMOVZXWD 32(SI), Z1
	VPMOVZXWD (SI)(DX*1), Z2
	VPMOVZXWD 32(SI)(DX*1), Z3
	VPSLLD    $16, Z2, Z2
	VPSLLD    $16, Z3, Z3
	VPORD     Z2, Z0, Z0
	VPORD     Z3, Z1, Z1
	VMOVDQU32 Z0, (DI)
	VMOVDQU32 Z1, 64(DI)
	LEAQ      (SI)(DX*2), SI
	ADDQ      $128, DI
	DECQ      CX
	JNZ       loop
	VZEROUPPER
	RET
