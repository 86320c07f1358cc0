#include "textflag.h"

// Four rows at R8..R11, then those that follow each of them, R12 times; DI walks along
// their products. Two accumulators each: Z0 and Z1 of the first to Z6 and
// Z7 of the fourth. BX walks along the arranged vector, whose present 32 floats
// are in Z8 and Z9. The end of a row that is no multiple of 32 is read under a
// mask. Rows are asked for AX bytes ahead, as in the kernels for AVX2.

#define BEGIN \
	MOVQ rows+8(FP), AX; \
	MOVQ 0(AX), R8; \
	MOVQ 8(AX), R9; \
	MOVQ 16(AX), R10; \
	MOVQ 24(AX), R11; \
	MOVQ out+0(FP), DI; \
	MOVQ count+32(FP), R12; \
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
	VPXORD Z7, Z7, Z7

#define AHEAD(bytes) \
	PREFETCHT0 bytes(R8)(AX*1); \
	PREFETCHT0 bytes(R9)(AX*1); \
	PREFETCHT0 bytes(R10)(AX*1); \
	PREFETCHT0 bytes(R11)(AX*1)

#define NEXT(bytes) \
	ADDQ $bytes, R8; \
	ADDQ $bytes, R9; \
	ADDQ $bytes, R10; \
	ADDQ $bytes, R11

// TAILMASK sets DX to one bit for each of the CX elements that are left.
#define TAILMASK \
	MOVQ $1, DX; \
	SHLQ CX, DX; \
	DECQ DX

// SKIP takes the rows over the CX elements that were left, to those that follow.
#define SKIP(size) \
	IMULQ $size, CX; \
	ADDQ  CX, R8; \
	ADDQ  CX, R9; \
	ADDQ  CX, R10; \
	ADDQ  CX, R11

// FOLD adds the upper half of a register's lanes to the lower half.
#define FOLD(z, y, t) \
	VEXTRACTF64X4 $1, z, t; \
	VADDPS        t, y, y

// END adds each row's 32 lanes: accumulators, then halves twice, then neighbours.
#define END \
	VADDPS       Z1, Z0, Z0; \
	VADDPS       Z3, Z2, Z2; \
	VADDPS       Z5, Z4, Z4; \
	VADDPS       Z7, Z6, Z6; \
	FOLD(Z0, Y0, Y1); \
	FOLD(Z2, Y2, Y3); \
	FOLD(Z4, Y4, Y5); \
	FOLD(Z6, Y6, Y7); \
	VHADDPS      Y2, Y0, Y0; \
	VHADDPS      Y6, Y4, Y4; \
	VHADDPS      Y4, Y0, Y0; \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS       X1, X0, X0; \
	VMOVUPS      X0, (DI); \
	ADDQ         $16, DI; \
	DECQ         R12; \
	JNZ          group; \
	VZEROUPPER; \
	RET

#define X32 \
	VMOVUPS (BX), Z8; \
	VMOVUPS 64(BX), Z9

#define SFROW(row, lo, hi) \
	VFMADD231PS row, Z8, lo; \
	VFMADD231PS 64 row, Z9, hi

#define SFMASKED(row, t, u, lo, hi) \
	VMOVUPS.Z   row, K1, t; \
	VMOVUPS.Z   64 row, K2, u; \
	VFMADD231PS Z8, t, lo; \
	VFMADD231PS Z9, u, hi

// func dotsF32AVX512(out *[4]float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsF32AVX512(SB), NOSPLIT, $0-48
	BEGIN

group:
	ROWS
	SUBQ $32, CX
	JL   tail

loop:
	AHEAD(0)
	AHEAD(64)
	X32
	SFROW((R8), Z0, Z1)
	SFROW((R9), Z2, Z3)
	SFROW((R10), Z4, Z5)
	SFROW((R11), Z6, Z7)
	NEXT(128)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

tail:
	ADDQ  $32, CX
	JZ    done
	TAILMASK
	KMOVW DX, K1
	SHRQ  $16, DX
	KMOVW DX, K2
	X32
	SFMASKED((R8), Z11, Z12, Z0, Z1)
	SFMASKED((R9), Z13, Z14, Z2, Z3)
	SFMASKED((R10), Z15, Z16, Z4, Z5)
	SFMASKED((R11), Z17, Z18, Z6, Z7)
	SKIP(4)

done:
	END
