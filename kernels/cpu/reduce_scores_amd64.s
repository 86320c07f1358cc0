#include "textflag.h"

// KEYS adds the products of the query's columns in Y8 with those of eight keys, the
// first four at R8, the others at R11.
#define KEYS(q, op) \
	op((R8), q, Y0, Y9); \
	op((R8)(R9*1), q, Y1, Y10); \
	op((R8)(R9*2), q, Y2, Y11); \
	op((R8)(R10*1), q, Y3, Y12); \
	op((R11), q, Y4, Y9); \
	op((R11)(R9*1), q, Y5, Y10); \
	op((R11)(R9*2), q, Y6, Y11); \
	op((R11)(R10*1), q, Y7, Y12)

#define WHOLE(key, q, sum, t) \
	VFMADD231PS key, q, sum

#define MASKED(key, q, sum, t) \
	VMASKMOVPS  key, Y15, t; \
	VFMADD231PS t, q, sum

// func scoresAVX2(z *float32, t int, q *float32, n int, keys *float32, stride int, mask *[8]int32)
TEXT ·scoresAVX2(SB), NOSPLIT, $0-56
	MOVQ    z+0(FP), DI
	MOVQ    t+8(FP), CX
	MOVQ    keys+32(FP), SI
	MOVQ    stride+40(FP), R9
	SHLQ    $2, R9
	LEAQ    (R9)(R9*2), R10
	MOVQ    mask+48(FP), AX
	VMOVDQU (AX), Y15

eight:
	MOVQ   q+16(FP), BX
	MOVQ   n+24(FP), DX
	MOVQ   SI, R8
	LEAQ   (SI)(R9*4), R11
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	SUBQ   $8, DX
	JL     rest

columns:
	VMOVUPS (BX), Y8
	KEYS(Y8, WHOLE)
	ADDQ    $32, BX
	ADDQ    $32, R8
	ADDQ    $32, R11
	SUBQ    $8, DX
	JGE     columns

rest:
	ADDQ       $8, DX
	JZ         sums
	VMASKMOVPS (BX), Y15, Y8
	KEYS(Y8, MASKED)

sums:
	VHADDPS    Y1, Y0, Y0
	VHADDPS    Y3, Y2, Y2
	VHADDPS    Y5, Y4, Y4
	VHADDPS    Y7, Y6, Y6
	VHADDPS    Y2, Y0, Y0
	VHADDPS    Y6, Y4, Y4
	VPERM2F128 $0x20, Y4, Y0, Y1
	VPERM2F128 $0x31, Y4, Y0, Y2
	VADDPS     Y2, Y1, Y0
	VMOVUPS    Y0, (DI)
	ADDQ       $32, DI
	LEAQ       (SI)(R9*8), SI
	SUBQ       $8, CX
	JNZ        eight
	VZEROUPPER
	RET
