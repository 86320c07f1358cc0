#include "textflag.h"

// Six rows at R8 to R13, then those that follow each of them, SI times; DI walks along
// their products. Two accumulators each: Z0 and Z1 of the first to Z10 and Z11 of the
// sixth. BX walks along the arranged vector, whose present 32 floats are in Z12 and Z13.
// The end of a row that is no multiple of 32 is read under a mask. Rows are asked for AX
// bytes ahead, as in the kernels for AVX2.

#define BEGIN \
	MOVQ rows+8(FP), AX; \
	MOVQ 0(AX), R8; \
	MOVQ 8(AX), R9; \
	MOVQ 16(AX), R10; \
	MOVQ 24(AX), R11; \
	MOVQ 32(AX), R12; \
	MOVQ 40(AX), R13; \
	MOVQ out+0(FP), DI; \
	MOVQ count+32(FP), SI; \
	MOVQ ahead+40(FP), AX

#define ROWS \
	MOVQ x+16(FP), BX; \
	MOVQ n+24(FP), CX; \
	VPXORD Z0, Z0, Z0; \
	VPXORD Z1, Z1, Z1; \
	VPXORD Z2, Z2, Z2; \
	VPXORD Z3, Z3, Z3; \
	VPXORD Z4, Z4, Z4; \
	VPXORD Z5, Z5, Z5; \
	VPXORD Z6, Z6, Z6; \
	VPXORD Z7, Z7, Z7; \
	VPXORD Z8, Z8, Z8; \
	VPXORD Z9, Z9, Z9; \
	VPXORD Z10, Z10, Z10; \
	VPXORD Z11, Z11, Z11; \
	SUBQ $32, CX

#define AHEAD \
	PREFETCHT0 (R8)(AX*1); \
	PREFETCHT0 (R9)(AX*1); \
	PREFETCHT0 (R10)(AX*1); \
	PREFETCHT0 (R11)(AX*1); \
	PREFETCHT0 (R12)(AX*1); \
	PREFETCHT0 (R13)(AX*1)

#define NEXT(bytes) \
	ADDQ $bytes, R8; \
	ADDQ $bytes, R9; \
	ADDQ $bytes, R10; \
	ADDQ $bytes, R11; \
	ADDQ $bytes, R12; \
	ADDQ $bytes, R13

// TAILMASK sets K1 to one bit for each of the CX elements that are left.
#define TAILMASK \
	MOVQ  $1, DX; \
	SHLQ  CX, DX; \
	DECQ  DX; \
	KMOVD DX, K1

// SKIP takes the rows over the CX elements that were left, to those that follow.
#define SKIP \
	ADDQ CX, CX; \
	ADDQ CX, R8; \
	ADDQ CX, R9; \
	ADDQ CX, R10; \
	ADDQ CX, R11; \
	ADDQ CX, R12; \
	ADDQ CX, R13

// FOLD adds a row's accumulators, then the upper half of the lanes to the lower half.
#define FOLD(a, b, y, t) \
	VADDPS        b, a, a; \
	VEXTRACTF64X4 $1, a, t; \
	VADDPS        t, y, y

// END adds each row's 32 lanes: accumulators, then halves, neighbours, halves.
#define END \
	FOLD(Z0, Z1, Y0, Y1); \
	FOLD(Z2, Z3, Y2, Y3); \
	FOLD(Z4, Z5, Y4, Y5); \
	FOLD(Z6, Z7, Y6, Y7); \
	FOLD(Z8, Z9, Y8, Y9); \
	FOLD(Z10, Z11, Y10, Y11); \
	VHADDPS      Y2, Y0, Y0; \
	VHADDPS      Y6, Y4, Y4; \
	VHADDPS      Y10, Y8, Y8; \
	VHADDPS      Y4, Y0, Y0; \
	VHADDPS      Y8, Y8, Y8; \
	VEXTRACTF128 $1, Y0, X1; \
	VEXTRACTF128 $1, Y8, X9; \
	VADDPS       X1, X0, X0; \
	VADDPS       X9, X8, X8; \
	VMOVUPS      X0, (DI); \
	VMOVSD       X8, 16(DI); \
	ADDQ         $24, DI; \
	DECQ         SI; \
	JNZ          group; \
	VZEROUPPER; \
	RET

#define X32 \
	VMOVUPS (BX), Z12; \
	VMOVUPS 64(BX), Z13

// SIX does the same to all rows.
#define SIX(do) \
	do(R8, Z14, Z15, Y15, Z0, Z1); \
	do(R9, Z16, Z17, Y17, Z2, Z3); \
	do(R10, Z18, Z19, Y19, Z4, Z5); \
	do(R11, Z14, Z15, Y15, Z6, Z7); \
	do(R12, Z16, Z17, Y17, Z8, Z9); \
	do(R13, Z18, Z19, Y19, Z10, Z11)

// BF takes 32 bfloat16s in t: as sixteen 32-bit words, the upper half of each is
// an odd element, the lower half, shifted up, an even one.
#define BF(t, u, even, odd) \
	VPSLLD      $16, t, u; \
	VPANDD      Z20, t, t; \
	VFMADD231PS Z12, u, even; \
	VFMADD231PS Z13, t, odd

#define BFROW(row, t, u, yu, even, odd) \
	VMOVDQU32 (row), t; \
	BF(t, u, even, odd)

#define BFMASKED(row, t, u, yu, even, odd) \
	VMOVDQU16.Z (row), K1, t; \
	BF(t, u, even, odd)

// func dotsBF16AVX512(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsBF16AVX512(SB), NOSPLIT, $0-48
	BEGIN
	MOVL         $0xffff0000, DX
	VPBROADCASTD DX, Z20

group:
	ROWS
	JL rest

loop:
	AHEAD
	X32
	SIX(BFROW)
	NEXT(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

rest:
	ADDQ $32, CX
	JZ   done
	TAILMASK
	X32
	SIX(BFMASKED)
	SKIP

done:
	END

#define HFROW(row, t, u, yu, lo, hi) \
	VCVTPH2PS   (row), t; \
	VCVTPH2PS   32(row), u; \
	VFMADD231PS Z12, t, lo; \
	VFMADD231PS Z13, u, hi

#define HFMASKED(row, t, u, yu, lo, hi) \
	VMOVDQU16.Z   (row), K1, u; \
	VCVTPH2PS     yu, t; \
	VEXTRACTI64X4 $1, u, yu; \
	VCVTPH2PS     yu, u; \
	VFMADD231PS   Z12, t, lo; \
	VFMADD231PS   Z13, u, hi

// func dotsF16AVX512(out *float32, rows *[MostStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsF16AVX512(SB), NOSPLIT, $0-48
	BEGIN

group:
	ROWS
	JL rest

loop:
	AHEAD
	X32
	SIX(HFROW)
	NEXT(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

rest:
	ADDQ $32, CX
	JZ   done
	TAILMASK
	X32
	SIX(HFMASKED)
	SKIP

done:
	END
