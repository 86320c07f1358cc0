#include "textflag.h"

// Four rows at R8..R11, then those that follow each of them, R12 times; DI walks along
// their products. One accumulator each, Y0 to Y3, as in dot16_avx2_amd64.s. BX walks along the
// arranged vector, whose present 16 floats are in Y8 and Y9. The end of a row that is no multiple of 16 is read as the
// row's last 16 elements, those before it masked away.
//
// Every 64 bytes of a row, those AX bytes further on are prefetched: see prefetchDistance.

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
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3

#define AHEAD \
	PREFETCHT0 (R8)(AX*1); \
	PREFETCHT0 (R9)(AX*1); \
	PREFETCHT0 (R10)(AX*1); \
	PREFETCHT0 (R11)(AX*1)

#define NEXT(bytes) \
	ADDQ $bytes, R8; \
	ADDQ $bytes, R9; \
	ADDQ $bytes, R10; \
	ADDQ $bytes, R11

// BACK puts the rows at their last 16 elements, DX being those not yet read.
#define BACK(size) \
	MOVQ  $16, DX; \
	SUBQ  CX, DX; \
	IMULQ $size, DX; \
	SUBQ  DX, R8; \
	SUBQ  DX, R9; \
	SUBQ  DX, R10; \
	SUBQ  DX, R11

// END adds each row's eight lanes: neighbours, then halves.
#define END \
	VHADDPS      Y1, Y0, Y0; \
	VHADDPS      Y3, Y2, Y2; \
	VHADDPS      Y2, Y0, Y0; \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS       X1, X0, X0; \
	VMOVUPS      X0, (DI); \
	ADDQ         $16, DI; \
	DECQ         R12; \
	JNZ          group; \
	VZEROUPPER; \
	RET

#define X16 \
	VMOVUPS (BX), Y8; \
	VMOVUPS 32(BX), Y9

#define SFROW(row, sum) \
	VFMADD231PS row, Y8, sum; \
	VFMADD231PS 32 row, Y9, sum

#define SFMASKED(row, sum) \
	VMOVUPS     64(BX), Y11; \
	VMOVUPS     96(BX), Y12; \
	VANDPS      row, Y11, Y11; \
	VANDPS      32 row, Y12, Y12; \
	VFMADD231PS Y8, Y11, sum; \
	VFMADD231PS Y9, Y12, sum

// func dotsF32AVX2(out *[4]float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)
TEXT ·dotsF32AVX2(SB), NOSPLIT, $0-48
	BEGIN

group:
	ROWS
	SUBQ $16, CX

loop:
	AHEAD
	X16
	SFROW((R8), Y0)
	SFROW((R9), Y1)
	SFROW((R10), Y2)
	SFROW((R11), Y3)
	NEXT(64)
	ADDQ $64, BX
	SUBQ $16, CX
	JGE  loop

	ADDQ $16, CX
	JZ   done
	BACK(4)
	X16
	SFMASKED((R8), Y0)
	SFMASKED((R9), Y1)
	SFMASKED((R10), Y2)
	SFMASKED((R11), Y3)
	NEXT(64)

done:
	END
