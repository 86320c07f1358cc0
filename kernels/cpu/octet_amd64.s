#include "textflag.h"

// FOUR is the products of four heads with their keys, from byte at on, in t0 added to
// two lanes a head.
#define FOUR(at, q0, q1, q2, q3, t0) \
	VMULPS  at(SI), q0, t0; \
	VMULPS  (at+32)(SI), q1, Y4; \
	VMULPS  (at+64)(SI), q2, Y5; \
	VMULPS  (at+96)(SI), q3, Y6; \
	VHADDPS Y4, t0, t0; \
	VHADDPS Y6, Y5, Y5; \
	VHADDPS Y5, t0, t0

// Eight positions' worth of a head are added in the order of scoresAVX2. A lane is a head.
//
// func octetScores(z *float32, top *[8]float32, q *[64]float32, k *float32, stride, t int, scale float32)
TEXT ·octetScores(SB), NOSPLIT, $0-52
	MOVQ    z+0(FP), DI
	MOVQ    q+16(FP), BX
	MOVQ    k+24(FP), SI
	MOVQ    stride+32(FP), R9
	MOVQ    t+40(FP), CX
	SHLQ    $2, R9
	VMOVUPS (BX), Y8
	VMOVUPS 32(BX), Y9
	VMOVUPS 64(BX), Y10
	VMOVUPS 96(BX), Y11
	VMOVUPS 128(BX), Y12
	VMOVUPS 160(BX), Y13
	VMOVUPS 192(BX), Y14
	VMOVUPS 224(BX), Y15
	VPCMPEQD Y7, Y7, Y7
	VPSLLD   $23, Y7, Y7 // -Inf

loop:
	FOUR(0, Y8, Y9, Y10, Y11, Y0)
	FOUR(128, Y12, Y13, Y14, Y15, Y1)
	VPERM2F128 $0x20, Y1, Y0, Y2
	VPERM2F128 $0x31, Y1, Y0, Y3
	VADDPS     Y3, Y2, Y0
	VMAXPS     Y0, Y7, Y7
	VMOVUPS    Y0, (DI)
	ADDQ       $32, DI
	ADDQ       R9, SI
	DECQ       CX
	JNZ        loop
	VBROADCASTSS scale+48(FP), Y0
	VMULPS       Y0, Y7, Y7
	MOVQ         top+8(FP), DI
	VMOVUPS      Y7, (DI)
	VZEROUPPER
	RET

// func octetMix(y *[64]float32, z, v *float32, stride, t int)
TEXT ·octetMix(SB), NOSPLIT, $0-40
	MOVQ   y+0(FP), DI
	MOVQ   z+8(FP), BX
	MOVQ   v+16(FP), SI
	MOVQ   stride+24(FP), R9
	MOVQ   t+32(FP), CX
	SHLQ   $2, R9
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7

loop:
	VBROADCASTSS (BX), Y8
	VBROADCASTSS 4(BX), Y9
	VBROADCASTSS 8(BX), Y10
	VBROADCASTSS 12(BX), Y11
	VFMADD231PS  (SI), Y8, Y0
	VFMADD231PS  32(SI), Y9, Y1
	VFMADD231PS  64(SI), Y10, Y2
	VFMADD231PS  96(SI), Y11, Y3
	VBROADCASTSS 16(BX), Y12
	VBROADCASTSS 20(BX), Y13
	VBROADCASTSS 24(BX), Y14
	VBROADCASTSS 28(BX), Y15
	VFMADD231PS  128(SI), Y12, Y4
	VFMADD231PS  160(SI), Y13, Y5
	VFMADD231PS  192(SI), Y14, Y6
	VFMADD231PS  224(SI), Y15, Y7
	ADDQ         $32, BX
	ADDQ         R9, SI
	DECQ         CX
	JNZ          loop
	VMOVUPS      Y0, (DI)
	VMOVUPS      Y1, 32(DI)
	VMOVUPS      Y2, 64(DI)
	VMOVUPS      Y3, 96(DI)
	VMOVUPS      Y4, 128(DI)
	VMOVUPS      Y5, 160(DI)
	VMOVUPS      Y6, 192(DI)
	VMOVUPS      Y7, 224(DI)
	VZEROUPPER
	RET
