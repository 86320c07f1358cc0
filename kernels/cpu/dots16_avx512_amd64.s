#include "textflag.h"

// Two rows at R8 and R9, then those that follow each of them, R12 times; DI walks along
// their products. Four accumulators each: Z0 to Z3 of the first, Z4 to Z7 of the second.
// BX walks along the arranged vector, whose present 32 floats are in Z8 and Z9. The end
// of a row that is no multiple of 32 is read under a mask. Rows are asked for 4 KiB
// ahead, as in the kernels for AVX2.

#define BEGIN \
	MOVQ rows+8(FP), AX; \
	MOVQ 0(AX), R8; \
	MOVQ 8(AX), R9; \
	MOVQ out+0(FP), DI; \
	MOVQ count+32(FP), R12

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
	SUBQ $64, CX

#define NEXT(bytes) \
	ADDQ $bytes, R8; \
	ADDQ $bytes, R9

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
	ADDQ CX, R9

// FOLD adds the upper half of a register's lanes to the lower half.
#define FOLD(z, y, t) \
	VEXTRACTF64X4 $1, z, t; \
	VADDPS        t, y, y

// END adds each row's 64 lanes: accumulators, then halves, neighbours, halves.
#define END \
	VADDPS       Z1, Z0, Z0; \
	VADDPS       Z3, Z2, Z2; \
	VADDPS       Z5, Z4, Z4; \
	VADDPS       Z7, Z6, Z6; \
	VADDPS       Z2, Z0, Z0; \
	VADDPS       Z6, Z4, Z4; \
	FOLD(Z0, Y0, Y1); \
	FOLD(Z4, Y4, Y5); \
	VHADDPS      Y4, Y0, Y0; \
	VHADDPS      Y0, Y0, Y0; \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS       X1, X0, X0; \
	VMOVSD       X0, (DI); \
	ADDQ         $8, DI; \
	DECQ         R12; \
	JNZ          group; \
	VZEROUPPER; \
	RET

#define X32(at) \
	VMOVUPS at(BX), Z8; \
	VMOVUPS (at+64)(BX), Z9

// BF takes 32 bfloat16s in t: as sixteen 32-bit words, the upper half of each is
// an odd element, the lower half, shifted up, an even one.
#define BF(t, u, even, odd) \
	VPSLLD      $16, t, u; \
	VPANDD      Z10, t, t; \
	VFMADD231PS Z8, u, even; \
	VFMADD231PS Z9, t, odd

#define BFROW(at, row, t, u, even, odd) \
	VMOVDQU32 at(row), t; \
	BF(t, u, even, odd)

#define BFMASKED(row, t, u, even, odd) \
	VMOVDQU16.Z (row), K1, t; \
	BF(t, u, even, odd)

// func dotsBF16AVX512(out *float32, rows *[4]unsafe.Pointer, x *float32, n, count int)
TEXT ·dotsBF16AVX512(SB), NOSPLIT, $0-40
	BEGIN
	MOVL         $0xffff0000, DX
	VPBROADCASTD DX, Z10

group:
	ROWS
	JL one

loop:
	PREFETCHT0 4096(R8)
	PREFETCHT0 4096(R9)
	PREFETCHT0 4160(R8)
	PREFETCHT0 4160(R9)
	X32(0)
	BFROW(0, R8, Z11, Z12, Z0, Z1)
	BFROW(0, R9, Z13, Z14, Z4, Z5)
	X32(128)
	BFROW(64, R8, Z15, Z16, Z2, Z3)
	BFROW(64, R9, Z17, Z18, Z6, Z7)
	NEXT(128)
	ADDQ       $256, BX
	SUBQ       $64, CX
	JGE        loop

one:
	ADDQ $32, CX
	JL   rest
	X32(0)
	BFROW(0, R8, Z11, Z12, Z0, Z1)
	BFROW(0, R9, Z13, Z14, Z4, Z5)
	NEXT(64)
	ADDQ $128, BX
	SUBQ $32, CX

rest:
	ADDQ $32, CX
	JZ   done
	TAILMASK
	X32(0)
	BFMASKED(R8, Z11, Z12, Z0, Z1)
	BFMASKED(R9, Z13, Z14, Z4, Z5)
	SKIP

done:
	END

#define HFROW(at, row, t, u, lo, hi) \
	VCVTPH2PS   at(row), t; \
	VCVTPH2PS   (at+32)(row), u; \
	VFMADD231PS Z8, t, lo; \
	VFMADD231PS Z9, u, hi

#define HFMASKED(row, t, u, yu, lo, hi) \
	VMOVDQU16.Z   (row), K1, u; \
	VCVTPH2PS     yu, t; \
	VEXTRACTI64X4 $1, u, yu; \
	VCVTPH2PS     yu, u; \
	VFMADD231PS   Z8, t, lo; \
	VFMADD231PS   Z9, u, hi

// func dotsF16AVX512(out *float32, rows *[4]unsafe.Pointer, x *float32, n, count int)
TEXT ·dotsF16AVX512(SB), NOSPLIT, $0-40
	BEGIN

group:
	ROWS
	JL one

loop:
	PREFETCHT0 4096(R8)
	PREFETCHT0 4096(R9)
	PREFETCHT0 4160(R8)
	PREFETCHT0 4160(R9)
	X32(0)
	HFROW(0, R8, Z11, Z12, Z0, Z1)
	HFROW(0, R9, Z13, Z14, Z4, Z5)
	X32(128)
	HFROW(64, R8, Z15, Z16, Z2, Z3)
	HFROW(64, R9, Z17, Z18, Z6, Z7)
	NEXT(128)
	ADDQ       $256, BX
	SUBQ       $64, CX
	JGE        loop

one:
	ADDQ $32, CX
	JL   rest
	X32(0)
	HFROW(0, R8, Z11, Z12, Z0, Z1)
	HFROW(0, R9, Z13, Z14, Z4, Z5)
	NEXT(64)
	ADDQ $128, BX
	SUBQ $32, CX

rest:
	ADDQ $32, CX
	JZ   done
	TAILMASK
	X32(0)
	HFMASKED(R8, Z11, Z12, Y12, Z0, Z1)
	HFMASKED(R9, Z13, Z14, Y14, Z4, Z5)
	SKIP

done:
	END
