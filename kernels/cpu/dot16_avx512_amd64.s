#include "textflag.h"

// Four rows at R8 to R11, or six, to R13, then those that follow each of them, SI times;
// DI walks along their products. Two accumulators each: Z0 and Z1 of the first to Z10
// and Z11 of the sixth. BX walks along the arranged vector, whose present 32 floats are
// in Z12 and Z13. The end of a row that is no multiple of 32 is read under a mask. Rows
// are asked for AX bytes ahead, as in the kernels for AVX2.

#define BEGIN4 \
	MOVQ rows+8(FP), AX; \
	MOVQ 0(AX), R8; \
	MOVQ 8(AX), R9; \
	MOVQ 16(AX), R10; \
	MOVQ 24(AX), R11; \
	MOVQ out+0(FP), DI; \
	MOVQ count+32(FP), SI

#define BEGIN6 \
	BEGIN4; \
	MOVQ 32(AX), R12; \
	MOVQ 40(AX), R13

#define ROWS4 \
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
	SUBQ $32, CX

#define ROWS6 \
	VPXORD Z8, Z8, Z8; \
	VPXORD Z9, Z9, Z9; \
	VPXORD Z10, Z10, Z10; \
	VPXORD Z11, Z11, Z11; \
	ROWS4

#define AHEAD4 \
	PREFETCHT0 (R8)(AX*1); \
	PREFETCHT0 (R9)(AX*1); \
	PREFETCHT0 (R10)(AX*1); \
	PREFETCHT0 (R11)(AX*1)

#define AHEAD6 \
	AHEAD4; \
	PREFETCHT0 (R12)(AX*1); \
	PREFETCHT0 (R13)(AX*1)

#define NEXT4(bytes) \
	ADDQ $bytes, R8; \
	ADDQ $bytes, R9; \
	ADDQ $bytes, R10; \
	ADDQ $bytes, R11

#define NEXT6(bytes) \
	NEXT4(bytes); \
	ADDQ $bytes, R12; \
	ADDQ $bytes, R13

// TAILMASK sets K1 to one bit for each of the CX elements that are left.
#define TAILMASK \
	MOVQ  $1, DX; \
	SHLQ  CX, DX; \
	DECQ  DX; \
	KMOVD DX, K1

// SKIP4 takes the rows over the CX elements that were left, to those that follow.
#define SKIP4 \
	ADDQ CX, CX; \
	ADDQ CX, R8; \
	ADDQ CX, R9; \
	ADDQ CX, R10; \
	ADDQ CX, R11

#define SKIP6 \
	SKIP4; \
	ADDQ CX, R12; \
	ADDQ CX, R13

// FOLD adds a row's accumulators, then the upper half of the lanes to the lower half.
#define FOLD(a, b, y, t) \
	VADDPS        b, a, a; \
	VEXTRACTF64X4 $1, a, t; \
	VADDPS        t, y, y

// FOUR adds the 32 lanes of each of four rows: accumulators, then halves, neighbours,
// halves.
#define FOUR \
	FOLD(Z0, Z1, Y0, Y1); \
	FOLD(Z2, Z3, Y2, Y3); \
	FOLD(Z4, Z5, Y4, Y5); \
	FOLD(Z6, Z7, Y6, Y7); \
	VHADDPS Y2, Y0, Y0; \
	VHADDPS Y6, Y4, Y4; \
	VHADDPS Y4, Y0, Y0; \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS X1, X0, X0; \
	VMOVUPS X0, (DI)

// TWO does so for the last two.
#define TWO \
	FOLD(Z8, Z9, Y8, Y9); \
	FOLD(Z10, Z11, Y10, Y11); \
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

#define X32 \
	VMOVUPS (BX), Z12; \
	VMOVUPS 64(BX), Z13

// EACH4 does the same to all rows.
#define EACH4(do) \
	do(R8, Z14, Z15, Y15, Z0, Z1); \
	do(R9, Z16, Z17, Y17, Z2, Z3); \
	do(R10, Z18, Z19, Y19, Z4, Z5); \
	do(R11, Z14, Z15, Y15, Z6, Z7)

#define EACH6(do) \
	EACH4(do); \
	do(R12, Z16, Z17, Y17, Z8, Z9); \
	do(R13, Z18, Z19, Y19, Z10, Z11)

// BF takes 32 bfloat16s in t: as sixteen 32-bit words, the upper half of each is
// an odd element, the lower half, shifted up, an even one.
#define BF(t, u, even, odd) \
	VPSLLD      $16, t, u; \
	VPANDD      Z20, t, t; \
	VFMADD231PS Z12, u, even; \
	VFMADD231PS Z13, t, odd

#define BFBEGIN \
	MOVL         $0xffff0000, DX; \
	VPBROADCASTD DX, Z20

#define BFROW(row, t, u, yu, even, odd) \
	VMOVDQU32 (row), t; \
	BF(t, u, even, odd)

#define BFMASKED(row, t, u, yu, even, odd) \
	VMOVDQU16.Z (row), K1, t; \
	BF(t, u, even, odd)

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

// func dotsBF16x4AVX512(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsBF16x4AVX512(SB), NOSPLIT, $0-48
	BEGIN4
	MOVQ ahead+40(FP), AX
	BFBEGIN

group:
	ROWS4
	JL rest

loop:
	AHEAD4
	X32
	EACH4(BFROW)
	NEXT4(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

rest:
	ADDQ $32, CX
	JZ   done
	TAILMASK
	X32
	EACH4(BFMASKED)
	SKIP4

done:
	FOUR
	LOOP(16)

// func dotsBF16x6AVX512(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsBF16x6AVX512(SB), NOSPLIT, $0-48
	BEGIN6
	MOVQ ahead+40(FP), AX
	BFBEGIN

group:
	ROWS6
	JL rest

loop:
	AHEAD6
	X32
	EACH6(BFROW)
	NEXT6(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

rest:
	ADDQ $32, CX
	JZ   done
	TAILMASK
	X32
	EACH6(BFMASKED)
	SKIP6

done:
	FOUR
	TWO
	LOOP(24)

// func dotsF16x4AVX512(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsF16x4AVX512(SB), NOSPLIT, $0-48
	BEGIN4
	MOVQ ahead+40(FP), AX

group:
	ROWS4
	JL rest

loop:
	AHEAD4
	X32
	EACH4(HFROW)
	NEXT4(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

rest:
	ADDQ $32, CX
	JZ   done
	TAILMASK
	X32
	EACH4(HFMASKED)
	SKIP4

done:
	FOUR
	LOOP(16)

// func dotsF16x6AVX512(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsF16x6AVX512(SB), NOSPLIT, $0-48
	BEGIN6
	MOVQ ahead+40(FP), AX

group:
	ROWS6
	JL rest

loop:
	AHEAD6
	X32
	EACH6(HFROW)
	NEXT6(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

rest:
	ADDQ $32, CX
	JZ   done
	TAILMASK
	X32
	EACH6(HFMASKED)
	SKIP6

done:
	FOUR
	TWO
	LOOP(24)
