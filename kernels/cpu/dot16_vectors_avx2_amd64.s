#include "textflag.h"

// Two rows times three vectors, or two: elements of a row are converted to float32 once
// for all vectors, so that rows in the first cache are multiplied nearly at the speed of
// the multiply-adds. Each product has the order of dot16_avx2_amd64.s.
//
// R8 and R9 walk along the rows, R10, R11 and R12 along the arranged vectors. Vector 0
// times the two rows is summed in Y0 to Y3, vector 1 in Y4 to Y7, vector 2 in Y8 to Y11,
// each with two accumulators for a row. Y12 and Y13 hold 8 elements of each row, first the
// even ones (bfloat16) or the first ones (float16) of 16, then the others.

#define BEGIN \
	MOVQ out+0(FP), DI; \
	MOVQ rows+8(FP), AX; \
	MOVQ 0(AX), R8; \
	MOVQ 8(AX), R9; \
	MOVQ count+40(FP), SI; \
	VMOVDQU odds<>(SB), Y15

#define VECTORS2 \
	MOVQ x+16(FP), R10; \
	MOVQ stride+24(FP), R11; \
	ADDQ R10, R11; \
	MOVQ n+32(FP), CX; \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
	VXORPS Y4, Y4, Y4; \
	VXORPS Y5, Y5, Y5; \
	VXORPS Y6, Y6, Y6; \
	VXORPS Y7, Y7, Y7; \
	SUBQ $32, CX

#define VECTORS3 \
	MOVQ stride+24(FP), R12; \
	ADDQ R12, R12; \
	ADDQ x+16(FP), R12; \
	VXORPS Y8, Y8, Y8; \
	VXORPS Y9, Y9, Y9; \
	VXORPS Y10, Y10, Y10; \
	VXORPS Y11, Y11, Y11; \
	VECTORS2

#define MULTIPLY(at, vector, row0, row1) \
	VMOVUPS at(vector), Y14; \
	VFMADD231PS Y14, Y12, row0; \
	VFMADD231PS Y14, Y13, row1

// FIRST2 and FIRST3 multiply the first half of 16 elements, SECOND2 and SECOND3 the second.
#define FIRST2(at) \
	MULTIPLY(at, R10, Y0, Y2); \
	MULTIPLY(at, R11, Y4, Y6)

#define FIRST3(at) \
	FIRST2(at); \
	MULTIPLY(at, R12, Y8, Y10)

#define SECOND2(at) \
	MULTIPLY(at+32, R10, Y1, Y3); \
	MULTIPLY(at+32, R11, Y5, Y7)

#define SECOND3(at) \
	SECOND2(at); \
	MULTIPLY(at+32, R12, Y9, Y11)

#define NEXT2(rowBytes, vectorBytes) \
	ADDQ $rowBytes, R8; \
	ADDQ $rowBytes, R9; \
	ADDQ $vectorBytes, R10; \
	ADDQ $vectorBytes, R11

#define NEXT3(rowBytes, vectorBytes) \
	NEXT2(rowBytes, vectorBytes); \
	ADDQ $vectorBytes, R12

// BACK puts the rows at their last 16 elements, CX being those not yet read.
#define BACK \
	MOVQ $16, DX; \
	SUBQ CX, DX; \
	ADDQ DX, DX; \
	SUBQ DX, R8; \
	SUBQ DX, R9

// SUM2 adds the lanes of four products: accumulators, then neighbours, then halves.
#define SUM2 \
	VADDPS Y1, Y0, Y0; \
	VADDPS Y3, Y2, Y2; \
	VADDPS Y5, Y4, Y4; \
	VADDPS Y7, Y6, Y6; \
	VHADDPS Y2, Y0, Y0; \
	VHADDPS Y6, Y4, Y4; \
	VHADDPS Y4, Y0, Y0; \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS X1, X0, X0; \
	VMOVUPS X0, (DI)

// SUM3 does so for six.
#define SUM3 \
	SUM2; \
	VADDPS Y9, Y8, Y8; \
	VADDPS Y11, Y10, Y10; \
	VHADDPS Y10, Y8, Y8; \
	VHADDPS Y8, Y8, Y8; \
	VEXTRACTF128 $1, Y8, X9; \
	VADDPS X9, X8, X8; \
	VMOVSD X8, 16(DI)

#define LOOP(bytes) \
	ADDQ $bytes, DI; \
	DECQ SI; \
	JNZ group; \
	VZEROUPPER; \
	RET

DATA odds<>+0(SB)/8, $0xffff0000ffff0000
DATA odds<>+8(SB)/8, $0xffff0000ffff0000
DATA odds<>+16(SB)/8, $0xffff0000ffff0000
DATA odds<>+24(SB)/8, $0xffff0000ffff0000
GLOBL odds<>(SB), RODATA|NOPTR, $32

// BFFIRST and BFSECOND load the even and the odd ones of 16 bfloat16s of each row.
#define BFFIRST(at) \
	VMOVDQU at(R8), Y12; \
	VMOVDQU at(R9), Y13; \
	VPSLLD  $16, Y12, Y12; \
	VPSLLD  $16, Y13, Y13

#define BFSECOND(at) \
	VPAND at(R8), Y15, Y12; \
	VPAND at(R9), Y15, Y13

#define BFFIRSTMASKED \
	VMOVDQU 64(R10), Y14; \
	VPAND   (R8), Y14, Y12; \
	VPAND   (R9), Y14, Y13; \
	VPSLLD  $16, Y12, Y12; \
	VPSLLD  $16, Y13, Y13

#define BFSECONDMASKED \
	VPAND 64(R10), Y15, Y14; \
	VPAND (R8), Y14, Y12; \
	VPAND (R9), Y14, Y13

// HFFIRST and HFSECOND load the first and the last 8 of 16 float16s of each row.
#define HFFIRST(at) \
	VCVTPH2PS at(R8), Y12; \
	VCVTPH2PS at(R9), Y13

#define HFSECOND(at) \
	VCVTPH2PS (at+16)(R8), Y12; \
	VCVTPH2PS (at+16)(R9), Y13

#define HFFIRSTMASKED \
	VMOVDQU   64(R10), X14; \
	VPAND     (R8), X14, X12; \
	VPAND     (R9), X14, X13; \
	VCVTPH2PS X12, Y12; \
	VCVTPH2PS X13, Y13

#define HFSECONDMASKED \
	VMOVDQU   80(R10), X14; \
	VPAND     16(R8), X14, X12; \
	VPAND     16(R9), X14, X13; \
	VCVTPH2PS X12, Y12; \
	VCVTPH2PS X13, Y13

// func dotsBF16x2x3AVX2(out *float32, rows *[2]unsafe.Pointer, x *float32, stride, n, count int)
TEXT ·dotsBF16x2x3AVX2(SB), NOSPLIT, $0-48
	BEGIN

group:
	VECTORS3
	JL one

loop:
	BFFIRST(0)
	FIRST3(0)
	BFSECOND(0)
	SECOND3(0)
	BFFIRST(32)
	FIRST3(64)
	BFSECOND(32)
	SECOND3(64)
	NEXT3(64, 128)
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	BFFIRST(0)
	FIRST3(0)
	BFSECOND(0)
	SECOND3(0)
	NEXT3(32, 64)
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK
	BFFIRSTMASKED
	FIRST3(0)
	BFSECONDMASKED
	SECOND3(0)
	NEXT3(32, 0)

done:
	SUM3
	LOOP(24)

// func dotsBF16x2x2AVX2(out *float32, rows *[2]unsafe.Pointer, x *float32, stride, n, count int)
TEXT ·dotsBF16x2x2AVX2(SB), NOSPLIT, $0-48
	BEGIN

group:
	VECTORS2
	JL one

loop:
	BFFIRST(0)
	FIRST2(0)
	BFSECOND(0)
	SECOND2(0)
	BFFIRST(32)
	FIRST2(64)
	BFSECOND(32)
	SECOND2(64)
	NEXT2(64, 128)
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	BFFIRST(0)
	FIRST2(0)
	BFSECOND(0)
	SECOND2(0)
	NEXT2(32, 64)
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK
	BFFIRSTMASKED
	FIRST2(0)
	BFSECONDMASKED
	SECOND2(0)
	NEXT2(32, 0)

done:
	SUM2
	LOOP(16)

// func dotsF16x2x3AVX2(out *float32, rows *[2]unsafe.Pointer, x *float32, stride, n, count int)
TEXT ·dotsF16x2x3AVX2(SB), NOSPLIT, $0-48
	BEGIN

group:
	VECTORS3
	JL one

loop:
	HFFIRST(0)
	FIRST3(0)
	HFSECOND(0)
	SECOND3(0)
	HFFIRST(32)
	FIRST3(64)
	HFSECOND(32)
	SECOND3(64)
	NEXT3(64, 128)
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	HFFIRST(0)
	FIRST3(0)
	HFSECOND(0)
	SECOND3(0)
	NEXT3(32, 64)
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK
	HFFIRSTMASKED
	FIRST3(0)
	HFSECONDMASKED
	SECOND3(0)
	NEXT3(32, 0)

done:
	SUM3
	LOOP(24)

// func dotsF16x2x2AVX2(out *float32, rows *[2]unsafe.Pointer, x *float32, stride, n, count int)
TEXT ·dotsF16x2x2AVX2(SB), NOSPLIT, $0-48
	BEGIN

group:
	VECTORS2
	JL one

loop:
	HFFIRST(0)
	FIRST2(0)
	HFSECOND(0)
	SECOND2(0)
	HFFIRST(32)
	FIRST2(64)
	HFSECOND(32)
	SECOND2(64)
	NEXT2(64, 128)
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	HFFIRST(0)
	FIRST2(0)
	HFSECOND(0)
	SECOND2(0)
	NEXT2(32, 64)
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK
	HFFIRSTMASKED
	FIRST2(0)
	HFSECONDMASKED
	SECOND2(0)
	NEXT2(32, 0)

done:
	SUM2
	LOOP(16)
