#include "textflag.h"

// JOIN adds the eight lanes of Y0: halves, then neighbours twice.
#define JOIN \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS       X1, X0, X0; \
	VHADDPS      X0, X0, X0; \
	VHADDPS      X0, X0, X0

// func maxAVX2(x *float32, n int) float32
TEXT ·maxAVX2(SB), NOSPLIT, $0-20
	MOVQ    x+0(FP), SI
	MOVQ    n+8(FP), CX
	VMOVUPS (SI), Y0

loop:
	VMAXPS (SI), Y0, Y0
	ADDQ   $32, SI
	SUBQ   $8, CX
	JNZ    loop
	VEXTRACTF128 $1, Y0, X1
	VMAXPS       X1, X0, X0
	VPERMILPS    $0x4e, X0, X1
	VMAXPS       X1, X0, X0
	VPERMILPS    $0xb1, X0, X1
	VMAXPS       X1, X0, X0
	VMOVSS       X0, ret+16(FP)
	VZEROUPPER
	RET

// x - x is zero where x is finite, and a NaN elsewhere.
//
// func maxFiniteAVX2(x *float32, n int) (top float32, finite bool)
TEXT ·maxFiniteAVX2(SB), NOSPLIT, $0-21
	MOVQ    x+0(FP), SI
	MOVQ    n+8(FP), CX
	VMOVUPS (SI), Y0
	VXORPS  Y3, Y3, Y3

loop:
	VMOVUPS (SI), Y1
	VMAXPS  Y1, Y0, Y0
	VSUBPS  Y1, Y1, Y2
	VORPS   Y2, Y3, Y3
	ADDQ    $32, SI
	SUBQ    $8, CX
	JNZ     loop
	VEXTRACTF128 $1, Y0, X1
	VMAXPS       X1, X0, X0
	VPERMILPS    $0x4e, X0, X1
	VMAXPS       X1, X0, X0
	VPERMILPS    $0xb1, X0, X1
	VMAXPS       X1, X0, X0
	VMOVSS       X0, top+16(FP)
	VPTEST       Y3, Y3
	SETEQ        finite+20(FP)
	VZEROUPPER
	RET

// func sumAVX2(x *float32, n int) float32
TEXT ·sumAVX2(SB), NOSPLIT, $0-20
	MOVQ   x+0(FP), SI
	MOVQ   n+8(FP), CX
	VXORPS Y0, Y0, Y0

loop:
	VADDPS (SI), Y0, Y0
	ADDQ   $32, SI
	SUBQ   $8, CX
	JNZ    loop
	JOIN
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// Four accumulators hide the latency of the multiply-add.
//
// func sumSquaresAVX2(x *float32, n int) float32
TEXT ·sumSquaresAVX2(SB), NOSPLIT, $0-20
	MOVQ   x+0(FP), SI
	MOVQ   n+8(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	SUBQ   $32, CX
	JL     tail

loop:
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VFMADD231PS Y4, Y4, Y0
	VFMADD231PS Y5, Y5, Y1
	VFMADD231PS Y6, Y6, Y2
	VFMADD231PS Y7, Y7, Y3
	ADDQ        $128, SI
	SUBQ        $32, CX
	JGE         loop

tail:
	ADDQ $32, CX
	JZ   done

eight:
	VMOVUPS     (SI), Y4
	VFMADD231PS Y4, Y4, Y0
	ADDQ        $32, SI
	SUBQ        $8, CX
	JNZ         eight

done:
	VADDPS Y1, Y0, Y0
	VADDPS Y3, Y2, Y2
	VADDPS Y2, Y0, Y0
	JOIN
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// Sizes are added as float64, four lanes in each of two accumulators.
//
// func sumAbsAVX2(x *float32, n int) float64
TEXT ·sumAbsAVX2(SB), NOSPLIT, $0-24
	MOVQ     x+0(FP), SI
	MOVQ     n+8(FP), CX
	VXORPD   Y0, Y0, Y0
	VXORPD   Y1, Y1, Y1
	VPCMPEQD X7, X7, X7
	VPSRLD   $1, X7, X7

loop:
	VANDPS    (SI), X7, X2
	VANDPS    16(SI), X7, X3
	VCVTPS2PD X2, Y2
	VCVTPS2PD X3, Y3
	VADDPD    Y2, Y0, Y0
	VADDPD    Y3, Y1, Y1
	ADDQ      $32, SI
	SUBQ      $8, CX
	JNZ       loop
	VADDPD       Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPD       X1, X0, X0
	VHADDPD      X0, X0, X0
	VMOVSD       X0, ret+16(FP)
	VZEROUPPER
	RET

// func scaleMulAVX2(y, x, w *float32, f float32, n int)
TEXT ·scaleMulAVX2(SB), NOSPLIT, $0-40
	MOVQ         y+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         w+16(FP), DX
	VBROADCASTSS f+24(FP), Y1
	MOVQ         n+32(FP), CX

loop:
	VMULPS  (SI), Y1, Y0
	VMULPS  (DX), Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DX
	ADDQ    $32, DI
	SUBQ    $8, CX
	JNZ     loop
	VZEROUPPER
	RET

// The elements of y stay in registers, 32 at a time, then 8, while t runs.
//
// func weightedSumAVX2(y *float32, n int, p *float32, t int, v *float32, stride int)
TEXT ·weightedSumAVX2(SB), NOSPLIT, $0-48
	MOVQ y+0(FP), DI
	MOVQ n+8(FP), CX
	MOVQ v+32(FP), R8
	MOVQ stride+40(FP), DX
	SHLQ $2, DX
	LEAQ (DX)(DX*2), R10
	SUBQ $64, CX
	JL   half

widest:
	MOVQ   p+16(FP), SI
	MOVQ   t+24(FP), BX
	MOVQ   R8, R9
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7

widestT:
	VBROADCASTSS (SI), Y8
	VFMADD231PS  (R9), Y8, Y0
	VFMADD231PS  32(R9), Y8, Y1
	VFMADD231PS  64(R9), Y8, Y2
	VFMADD231PS  96(R9), Y8, Y3
	VFMADD231PS  128(R9), Y8, Y4
	VFMADD231PS  160(R9), Y8, Y5
	VFMADD231PS  192(R9), Y8, Y6
	VFMADD231PS  224(R9), Y8, Y7
	ADDQ         $4, SI
	ADDQ         DX, R9
	DECQ         BX
	JNZ          widestT
	VMOVUPS      Y0, (DI)
	VMOVUPS      Y1, 32(DI)
	VMOVUPS      Y2, 64(DI)
	VMOVUPS      Y3, 96(DI)
	VMOVUPS      Y4, 128(DI)
	VMOVUPS      Y5, 160(DI)
	VMOVUPS      Y6, 192(DI)
	VMOVUPS      Y7, 224(DI)
	ADDQ         $256, DI
	ADDQ         $256, R8
	SUBQ         $64, CX
	JGE          widest

half:
	ADDQ $32, CX
	JL   tail

wide:
	MOVQ   p+16(FP), SI
	MOVQ   t+24(FP), BX
	MOVQ   R8, R9
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3

wideT:
	VBROADCASTSS (SI), Y4
	VFMADD231PS  (R9), Y4, Y0
	VFMADD231PS  32(R9), Y4, Y1
	VFMADD231PS  64(R9), Y4, Y2
	VFMADD231PS  96(R9), Y4, Y3
	ADDQ         $4, SI
	ADDQ         DX, R9
	DECQ         BX
	JNZ          wideT
	VMOVUPS      Y0, (DI)
	VMOVUPS      Y1, 32(DI)
	VMOVUPS      Y2, 64(DI)
	VMOVUPS      Y3, 96(DI)
	ADDQ         $128, DI
	ADDQ         $128, R8
	SUBQ         $32, CX
	JGE          wide

tail:
	ADDQ $32, CX
	JZ   done

// Eight elements alone have four sums, of t, t+1, t+2 and t+3, which hide the latency of
// the multiply-add; the last t go to the first sum.
narrow:
	MOVQ   p+16(FP), SI
	MOVQ   t+24(FP), BX
	MOVQ   R8, R9
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	SUBQ   $4, BX
	JL     few

narrowT:
	VBROADCASTSS (SI), Y4
	VBROADCASTSS 4(SI), Y5
	VBROADCASTSS 8(SI), Y6
	VBROADCASTSS 12(SI), Y7
	VFMADD231PS  (R9), Y4, Y0
	VFMADD231PS  (R9)(DX*1), Y5, Y1
	VFMADD231PS  (R9)(DX*2), Y6, Y2
	VFMADD231PS  (R9)(R10*1), Y7, Y3
	ADDQ         $16, SI
	LEAQ         (R9)(DX*4), R9
	SUBQ         $4, BX
	JGE          narrowT

few:
	ADDQ $4, BX
	JZ   joined

fewT:
	VBROADCASTSS (SI), Y4
	VFMADD231PS  (R9), Y4, Y0
	ADDQ         $4, SI
	ADDQ         DX, R9
	DECQ         BX
	JNZ          fewT

joined:
	VADDPS  Y1, Y0, Y0
	VADDPS  Y3, Y2, Y2
	VADDPS  Y2, Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, DI
	ADDQ    $32, R8
	SUBQ    $8, CX
	JNZ     narrow

done:
	VZEROUPPER
	RET

// func gateAVX2(y, z, e, u *float32, n int)
TEXT ·gateAVX2(SB), NOSPLIT, $0-40
	MOVQ     y+0(FP), DI
	MOVQ     z+8(FP), SI
	MOVQ     e+16(FP), DX
	MOVQ     u+24(FP), R8
	MOVQ     n+32(FP), CX
	VPCMPEQD Y7, Y7, Y7
	VPSRLD   $25, Y7, Y7
	VPSLLD   $23, Y7, Y7 // 127 in the exponent: 1

loop:
	VMOVUPS (SI), Y0
	VADDPS  (DX), Y7, Y1
	VDIVPS  Y1, Y0, Y0
	VMULPS  (R8), Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DX
	ADDQ    $32, R8
	ADDQ    $32, DI
	SUBQ    $8, CX
	JNZ     loop
	VZEROUPPER
	RET
