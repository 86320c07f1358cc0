#include "textflag.h"

// SPLIT8 takes eight pairs: the first of each to Y2, the second to Y3.
#define SPLIT8 \
	VMOVUPS (SI), Y0; \
	VMOVUPS 32(SI), Y1; \
	VSHUFPS $0x88, Y1, Y0, Y2; \
	VSHUFPS $0xdd, Y1, Y0, Y3; \
	VPERMPD $0xd8, Y2, Y2; \
	VPERMPD $0xd8, Y3, Y3

#define NEXT8 \
	VMOVUPS Y2, (DI); \
	VMOVUPS Y3, (DX); \
	ADDQ    $64, SI; \
	ADDQ    $32, DI; \
	ADDQ    $32, DX; \
	SUBQ    $8, CX

// func splitAVX2(y0, y1, x *float32, n int, add bool)
TEXT ·splitAVX2(SB), NOSPLIT, $0-33
	MOVQ y0+0(FP), DI
	MOVQ y1+8(FP), DX
	MOVQ x+16(FP), SI
	MOVQ n+24(FP), CX
	MOVB add+32(FP), AX
	TESTB AX, AX
	JNZ  plus

loop:
	SPLIT8
	NEXT8
	JNZ loop
	VZEROUPPER
	RET

plus:
	SPLIT8
	VADDPS (DI), Y2, Y2
	VADDPS (DX), Y3, Y3
	NEXT8
	JNZ plus
	VZEROUPPER
	RET
