#include "textflag.h"

// Six rows at R8 to R13, then those that follow each of them, SI times; DI walks along
// their products. Y0 to Y5 have one accumulator of eight lanes for each row: several vectors
// at a time (dot_vectors_avx2_amd64.s) have no registers for more, and a product has the same
// bits there. BX walks along the arranged vector, whose present 16 floats are in Y12 and Y13.
// The end of a row that is no multiple of 16 is read as the row's last 16 elements, those
// before it masked away.
//
// Every 64 bytes of a row, those AX bytes further on are prefetched: see prefetchDistance. The
// vector of a wide matrix does not stay in the first cache beside what streams through
// it, and six rows share what is read of it: rows of 11 KiB came at 46 to 49 GB/s by six
// where two had 30 to 32 and four 40 to 43 (the same loops in C, on two cores of a Zen 4
// that read 52 to 57). Of 4 KiB, four came at 50 to 58 and six at 49 to 54.

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
	MOVQ ahead+40(FP), AX; \
	VMOVDQU odd<>(SB), Y11

#define ROWS \
	MOVQ x+16(FP), BX; \
	MOVQ n+24(FP), CX; \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
	VXORPS Y4, Y4, Y4; \
	VXORPS Y5, Y5, Y5; \
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

// BACK puts the rows at their last 16 elements, CX being those not yet read.
#define BACK \
	MOVQ $16, DX; \
	SUBQ CX, DX; \
	ADDQ DX, DX; \
	SUBQ DX, R8; \
	SUBQ DX, R9; \
	SUBQ DX, R10; \
	SUBQ DX, R11; \
	SUBQ DX, R12; \
	SUBQ DX, R13

// SUMS adds the eight lanes of each row: neighbours, then halves.
#define SUMS \
	VHADDPS Y1, Y0, Y0; \
	VHADDPS Y3, Y2, Y2; \
	VHADDPS Y5, Y4, Y4; \
	VHADDPS Y2, Y0, Y0; \
	VHADDPS Y4, Y4, Y4; \
	VEXTRACTF128 $1, Y0, X1; \
	VEXTRACTF128 $1, Y4, X5; \
	VADDPS X1, X0, X0; \
	VADDPS X5, X4, X4; \
	VMOVUPS X0, (DI); \
	VMOVSD X4, 16(DI)

#define LOOP \
	ADDQ $24, DI; \
	DECQ SI; \
	JNZ group; \
	VZEROUPPER; \
	RET

#define X16(at) \
	VMOVUPS at(BX), Y12; \
	VMOVUPS (at+32)(BX), Y13

// EACH does the same to all rows.
#define EACH(do, at) \
	do(at, R8, Y0); \
	do(at, R9, Y1); \
	do(at, R10, Y2); \
	do(at, R11, Y3); \
	do(at, R12, Y4); \
	do(at, R13, Y5)

DATA odd<>+0(SB)/8, $0xffff0000ffff0000
DATA odd<>+8(SB)/8, $0xffff0000ffff0000
DATA odd<>+16(SB)/8, $0xffff0000ffff0000
DATA odd<>+24(SB)/8, $0xffff0000ffff0000
GLOBL odd<>(SB), RODATA|NOPTR, $32

// BF takes 16 bfloat16s in Y14: as eight 32-bit words, the upper half of each is
// an odd element, the lower half, shifted up, an even one.
#define BF(sum) \
	VPSLLD      $16, Y14, Y15; \
	VPAND       Y11, Y14, Y14; \
	VFMADD231PS Y12, Y15, sum; \
	VFMADD231PS Y13, Y14, sum

#define BFROW(at, row, sum) \
	VMOVDQU at(row), Y14; \
	BF(sum)

#define BFMASKED(at, row, sum) \
	VMOVDQU 64(BX), Y14; \
	VPAND   at(row), Y14, Y14; \
	BF(sum)

#define HFROW(at, row, sum) \
	VCVTPH2PS   at(row), Y14; \
	VCVTPH2PS   (at+16)(row), Y15; \
	VFMADD231PS Y12, Y14, sum; \
	VFMADD231PS Y13, Y15, sum

#define HFMASKED(at, row, sum) \
	VMOVDQU     64(BX), X14; \
	VMOVDQU     80(BX), X15; \
	VPAND       at(row), X14, X14; \
	VPAND       (at+16)(row), X15, X15; \
	VCVTPH2PS   X14, Y14; \
	VCVTPH2PS   X15, Y15; \
	VFMADD231PS Y12, Y14, sum; \
	VFMADD231PS Y13, Y15, sum

// func dotsBF16AVX2(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsBF16AVX2(SB), NOSPLIT, $0-48
	BEGIN

group:
	ROWS
	JL one

loop:
	AHEAD
	X16(0)
	EACH(BFROW, 0)
	X16(64)
	EACH(BFROW, 32)
	NEXT(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	X16(0)
	EACH(BFROW, 0)
	NEXT(32)
	ADDQ $64, BX
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK
	X16(0)
	EACH(BFMASKED, 0)
	NEXT(32)

done:
	SUMS
	LOOP

// func dotsF16AVX2(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsF16AVX2(SB), NOSPLIT, $0-48
	BEGIN

group:
	ROWS
	JL one

loop:
	AHEAD
	X16(0)
	EACH(HFROW, 0)
	X16(64)
	EACH(HFROW, 32)
	NEXT(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	X16(0)
	EACH(HFROW, 0)
	NEXT(32)
	ADDQ $64, BX
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK
	X16(0)
	EACH(HFMASKED, 0)
	NEXT(32)

done:
	SUMS
	LOOP
