#include "textflag.h"

// Four rows at R8 to R11, or six, to R13, then those that follow each of them, SI times;
// DI walks along their products. Two accumulators each: Y0 and Y1 of the first to Y10
// and Y11 of the sixth. BX walks along the arranged vector, whose present 16 floats are
// in Y12 and Y13. The end of a row that is no multiple of 16 is read as the row's last
// 16 elements, those before it masked away.
//
// Every 64 bytes of a row, those AX bytes further on are asked for: see distance. The
// vector of a wide matrix does not stay in the first cache beside what streams through
// it, and six rows share what is read of it: rows of 11 KiB came at 46 to 49 GB/s by six
// where two had 30 to 32 and four 40 to 43 (the same loops in C, on two cores of a Zen 4
// that read 52 to 57). Of 4 KiB, four came at 50 to 58 and six at 49 to 54.

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
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
	VXORPS Y4, Y4, Y4; \
	VXORPS Y5, Y5, Y5; \
	VXORPS Y6, Y6, Y6; \
	VXORPS Y7, Y7, Y7; \
	SUBQ $32, CX

#define ROWS6 \
	VXORPS Y8, Y8, Y8; \
	VXORPS Y9, Y9, Y9; \
	VXORPS Y10, Y10, Y10; \
	VXORPS Y11, Y11, Y11; \
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

// BACK4 puts the rows at their last 16 elements, CX being those not yet read.
#define BACK4 \
	MOVQ $16, DX; \
	SUBQ CX, DX; \
	ADDQ DX, DX; \
	SUBQ DX, R8; \
	SUBQ DX, R9; \
	SUBQ DX, R10; \
	SUBQ DX, R11

#define BACK6 \
	BACK4; \
	SUBQ DX, R12; \
	SUBQ DX, R13

// FOUR adds the 16 lanes of each of four rows: accumulators, then neighbours, then halves.
#define FOUR \
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

// TWO does so for the last two.
#define TWO \
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

#define X16(at) \
	VMOVUPS at(BX), Y12; \
	VMOVUPS (at+32)(BX), Y13

// EACH4 does the same to all rows.
#define EACH4(do, at) \
	do(at, R8, Y0, Y1); \
	do(at, R9, Y2, Y3); \
	do(at, R10, Y4, Y5); \
	do(at, R11, Y6, Y7)

#define EACH6(do, at) \
	EACH4(do, at); \
	do(at, R12, Y8, Y9); \
	do(at, R13, Y10, Y11)

DATA odd<>+0(SB)/8, $0xffff0000ffff0000
DATA odd<>+8(SB)/8, $0xffff0000ffff0000
DATA odd<>+16(SB)/8, $0xffff0000ffff0000
DATA odd<>+24(SB)/8, $0xffff0000ffff0000
GLOBL odd<>(SB), RODATA|NOPTR, $32

// BF takes 16 bfloat16s in Y14: as eight 32-bit words, the upper half of each is
// an odd element, the lower half, shifted up, an even one.
#define BF(even, odds) \
	VPSLLD      $16, Y14, Y15; \
	VPAND       odd<>(SB), Y14, Y14; \
	VFMADD231PS Y12, Y15, even; \
	VFMADD231PS Y13, Y14, odds

#define BFROW(at, row, even, odds) \
	VMOVDQU at(row), Y14; \
	BF(even, odds)

#define BFMASKED(at, row, even, odds) \
	VMOVDQU 64(BX), Y14; \
	VPAND   at(row), Y14, Y14; \
	BF(even, odds)

#define HFROW(at, row, lo, hi) \
	VCVTPH2PS   at(row), Y14; \
	VCVTPH2PS   (at+16)(row), Y15; \
	VFMADD231PS Y12, Y14, lo; \
	VFMADD231PS Y13, Y15, hi

#define HFMASKED(at, row, lo, hi) \
	VMOVDQU     64(BX), X14; \
	VMOVDQU     80(BX), X15; \
	VPAND       at(row), X14, X14; \
	VPAND       (at+16)(row), X15, X15; \
	VCVTPH2PS   X14, Y14; \
	VCVTPH2PS   X15, Y15; \
	VFMADD231PS Y12, Y14, lo; \
	VFMADD231PS Y13, Y15, hi

// func dotsBF16x4AVX2(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsBF16x4AVX2(SB), NOSPLIT, $0-48
	BEGIN4
	MOVQ ahead+40(FP), AX

group:
	ROWS4
	JL one

loop:
	AHEAD4
	X16(0)
	EACH4(BFROW, 0)
	X16(64)
	EACH4(BFROW, 32)
	NEXT4(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	X16(0)
	EACH4(BFROW, 0)
	NEXT4(32)
	ADDQ $64, BX
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK4
	X16(0)
	EACH4(BFMASKED, 0)
	NEXT4(32)

done:
	FOUR
	LOOP(16)

// func dotsBF16x6AVX2(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsBF16x6AVX2(SB), NOSPLIT, $0-48
	BEGIN6
	MOVQ ahead+40(FP), AX

group:
	ROWS6
	JL one

loop:
	AHEAD6
	X16(0)
	EACH6(BFROW, 0)
	X16(64)
	EACH6(BFROW, 32)
	NEXT6(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	X16(0)
	EACH6(BFROW, 0)
	NEXT6(32)
	ADDQ $64, BX
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK6
	X16(0)
	EACH6(BFMASKED, 0)
	NEXT6(32)

done:
	FOUR
	TWO
	LOOP(24)

// func dotsF16x4AVX2(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsF16x4AVX2(SB), NOSPLIT, $0-48
	BEGIN4
	MOVQ ahead+40(FP), AX

group:
	ROWS4
	JL one

loop:
	AHEAD4
	X16(0)
	EACH4(HFROW, 0)
	X16(64)
	EACH4(HFROW, 32)
	NEXT4(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	X16(0)
	EACH4(HFROW, 0)
	NEXT4(32)
	ADDQ $64, BX
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK4
	X16(0)
	EACH4(HFMASKED, 0)
	NEXT4(32)

done:
	FOUR
	LOOP(16)

// func dotsF16x6AVX2(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsF16x6AVX2(SB), NOSPLIT, $0-48
	BEGIN6
	MOVQ ahead+40(FP), AX

group:
	ROWS6
	JL one

loop:
	AHEAD6
	X16(0)
	EACH6(HFROW, 0)
	X16(64)
	EACH6(HFROW, 32)
	NEXT6(64)
	ADDQ $128, BX
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	X16(0)
	EACH6(HFROW, 0)
	NEXT6(32)
	ADDQ $64, BX
	SUBQ $16, CX

rest:
	ADDQ $16, CX
	JZ   done
	BACK6
	X16(0)
	EACH6(HFMASKED, 0)
	NEXT6(32)

done:
	FOUR
	TWO
	LOOP(24)
