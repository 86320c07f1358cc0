#include "textflag.h"

// SPLIT takes 16 floats: even ones to e, odd ones to o.
#define SPLIT(at, e, o) \
	VMOVUPS at(SI), Y0; \
	VMOVUPS (at+32)(SI), Y1; \
	VSHUFPS $0x88, Y1, Y0, e; \
	VSHUFPS $0xdd, Y1, Y0, o; \
	VPERMPD $0xd8, e, e; \
	VPERMPD $0xd8, o, o

// func deinterleave16(dst, x *float32, n int)
TEXT ·deinterleave16(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX

loop:
	SPLIT(0, Y2, Y3)
	VMOVUPS Y2, (DI)
	VMOVUPS Y3, 32(DI)
	ADDQ    $64, SI
	ADDQ    $64, DI
	SUBQ    $16, CX
	JNZ     loop
	VZEROUPPER
	RET
