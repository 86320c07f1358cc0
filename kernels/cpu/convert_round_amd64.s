#include "textflag.h"

// ROUND leaves in y the rounded upper halves of the eight floats at offset: x +
// 0x7fff + (bit 16 of x), or x with the quiet bit set where it is no number.
// Y13 has 1, Y14 0x7fff and Y15 0x400000 in each lane.
#define ROUND(offset, y, t, nan) \
	VMOVUPS   offset(SI), y; \
	VCMPPS    $3, y, y, nan; \
	VPSRLD    $16, y, t; \
	VPAND     Y13, t, t; \
	VPADDD    Y14, t, t; \
	VPADDD    y, t, t; \
	VPOR      Y15, y, y; \
	VBLENDVPS nan, y, t, y; \
	VPSRLD    $16, y, y

// func roundBF16AVX2(dst *uint16, x *float32, n int)
TEXT ·roundBF16AVX2(SB), NOSPLIT, $0-24
	MOVQ     dst+0(FP), DI
	MOVQ     x+8(FP), SI
	MOVQ     n+16(FP), CX
	VPCMPEQD Y15, Y15, Y15
	VPSRLD   $31, Y15, Y13
	VPSRLD   $17, Y15, Y14
	VPSLLD   $22, Y13, Y15

loop:
	ROUND(0, Y0, Y2, Y4)
	ROUND(32, Y1, Y3, Y5)
	VPACKUSDW Y1, Y0, Y0
	VPERMQ    $0xd8, Y0, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $64, SI
	ADDQ      $32, DI
	SUBQ      $16, CX
	JNZ       loop
	VZEROUPPER
	RET

// func narrowF16AVX2(dst *uint16, x *float32, n int)
TEXT ·narrowF16AVX2(SB), NOSPLIT, $0-24
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         n+16(FP), CX
	MOVL         $0x477fe000, AX // 65504
	VMOVD        AX, X4
	VPBROADCASTD X4, Y4
	MOVL         $0xc77fe000, AX
	VMOVD        AX, X5
	VPBROADCASTD X5, Y5

// A NaN passes the minimum and the maximum, because it is their last operand.
loop:
	VMINPS    (SI), Y4, Y0
	VMINPS    32(SI), Y4, Y1
	VMAXPS    Y0, Y5, Y0
	VMAXPS    Y1, Y5, Y1
	VCVTPS2PH $0, Y0, (DI)
	VCVTPS2PH $0, Y1, 16(DI)
	ADDQ      $64, SI
	ADDQ      $32, DI
	SUBQ      $16, CX
	JNZ       loop
	VZEROUPPER
	RET
