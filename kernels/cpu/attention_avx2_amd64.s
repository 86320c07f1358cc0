#include "textflag.h"

// Sums of the same rows of values under the weights of one to four query heads: elements are
// converted to float32 once for all of them, 32 or 16 columns at a time, which stay in
// registers while the rows pass by. A sum is formed in the order of the rows.
//
// R8 walks along the rows, which are R9 bytes apart, and SI along the weights of head 0; those
// of head h are h*R13 bytes further on, where R14 = 3*R13. Head h's sums go to DI + h*R12, where
// R11 = 3*R12. For each row, two lines from AX on are prefetched, and AX moves on by DX. Y12 and
// Y13 hold 16 elements of a row: for bfloat16 the even and the odd ones, else the first and the
// last eight.

#define BEGIN \
	MOVQ y+0(FP), DI; \
	MOVQ yStride+8(FP), R12; \
	LEAQ (R12)(R12*2), R11; \
	MOVQ pStride+24(FP), R13; \
	LEAQ (R13)(R13*2), R14; \
	MOVQ rowBytes+48(FP), R9; \
	MOVQ next+64(FP), AX; \
	MOVQ step+72(FP), DX; \
	MOVQ v+40(FP), R10; \
	MOVQ n+56(FP), BX; \
	VMOVDQU odds<>(SB), Y15

#define ZERO \
	MOVQ p+16(FP), SI; \
	MOVQ t+32(FP), CX; \
	MOVQ R10, R8; \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3; \
	VXORPS Y4, Y4, Y4; \
	VXORPS Y5, Y5, Y5; \
	VXORPS Y6, Y6, Y6; \
	VXORPS Y7, Y7, Y7; \
	VXORPS Y8, Y8, Y8; \
	VXORPS Y9, Y9, Y9; \
	VXORPS Y10, Y10, Y10; \
	VXORPS Y11, Y11, Y11

#define NEXTROW \
	PREFETCHT1 (AX); \
	PREFETCHT1 64(AX); \
	ADDQ DX, AX; \
	ADDQ $4, SI; \
	ADDQ R9, R8; \
	DECQ CX

#define HEAD(p, a, b) \
	VBROADCASTSS p, Y14; \
	VFMADD231PS  Y12, Y14, a; \
	VFMADD231PS  Y13, Y14, b

DATA odds<>+0(SB)/8, $0xffff0000ffff0000
DATA odds<>+8(SB)/8, $0xffff0000ffff0000
DATA odds<>+16(SB)/8, $0xffff0000ffff0000
DATA odds<>+24(SB)/8, $0xffff0000ffff0000
GLOBL odds<>(SB), RODATA|NOPTR, $32

// LOAD converts 16 elements, and STORE stores their sums.
#define LOADBF16(at) \
	VMOVDQU at(R8), Y12; \
	VPAND   Y15, Y12, Y13; \
	VPSLLD  $16, Y12, Y12

#define STOREBF16(a, b, at, to) \
	VUNPCKLPS  b, a, Y12; \
	VUNPCKHPS  b, a, Y13; \
	VPERM2F128 $0x20, Y13, Y12, Y14; \
	VPERM2F128 $0x31, Y13, Y12, Y12; \
	VMOVUPS    Y14, at to; \
	VMOVUPS    Y12, (at+32) to

#define LOADF16(at) \
	VCVTPH2PS at(R8), Y12; \
	VCVTPH2PS (at+16)(R8), Y13

#define LOADF32(at) \
	VMOVUPS at(R8), Y12; \
	VMOVUPS (at+32)(R8), Y13

#define STOREF32(a, b, at, to) \
	VMOVUPS a, at to; \
	VMOVUPS b, (at+32) to

// func weightedSumsBF16x1AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsBF16x1AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADBF16(0)
	HEAD((SI), Y0, Y1)
	LOADBF16(32)
	HEAD((SI), Y6, Y7)
	NEXTROW
	JNZ wideRow
	STOREBF16(Y0, Y1, 0, (DI))
	STOREBF16(Y6, Y7, 64, (DI))
	ADDQ $128, DI
	ADDQ $64, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADBF16(0)
	HEAD((SI), Y0, Y1)
	NEXTROW
	JNZ narrowRow
	STOREBF16(Y0, Y1, 0, (DI))

done:
	VZEROUPPER
	RET

// func weightedSumsBF16x2AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsBF16x2AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADBF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	LOADBF16(32)
	HEAD((SI), Y6, Y7)
	HEAD((SI)(R13*1), Y8, Y9)
	NEXTROW
	JNZ wideRow
	STOREBF16(Y0, Y1, 0, (DI))
	STOREBF16(Y6, Y7, 64, (DI))
	STOREBF16(Y2, Y3, 0, (DI)(R12*1))
	STOREBF16(Y8, Y9, 64, (DI)(R12*1))
	ADDQ $128, DI
	ADDQ $64, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADBF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	NEXTROW
	JNZ narrowRow
	STOREBF16(Y0, Y1, 0, (DI))
	STOREBF16(Y2, Y3, 0, (DI)(R12*1))

done:
	VZEROUPPER
	RET

// func weightedSumsBF16x3AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsBF16x3AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADBF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	LOADBF16(32)
	HEAD((SI), Y6, Y7)
	HEAD((SI)(R13*1), Y8, Y9)
	HEAD((SI)(R13*2), Y10, Y11)
	NEXTROW
	JNZ wideRow
	STOREBF16(Y0, Y1, 0, (DI))
	STOREBF16(Y6, Y7, 64, (DI))
	STOREBF16(Y2, Y3, 0, (DI)(R12*1))
	STOREBF16(Y8, Y9, 64, (DI)(R12*1))
	STOREBF16(Y4, Y5, 0, (DI)(R12*2))
	STOREBF16(Y10, Y11, 64, (DI)(R12*2))
	ADDQ $128, DI
	ADDQ $64, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADBF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	NEXTROW
	JNZ narrowRow
	STOREBF16(Y0, Y1, 0, (DI))
	STOREBF16(Y2, Y3, 0, (DI)(R12*1))
	STOREBF16(Y4, Y5, 0, (DI)(R12*2))

done:
	VZEROUPPER
	RET

// func weightedSumsBF16x4AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsBF16x4AVX2(SB), NOSPLIT, $0-80
	BEGIN

narrow:
	ZERO

narrowRow:
	LOADBF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	HEAD((SI)(R14*1), Y6, Y7)
	NEXTROW
	JNZ narrowRow
	STOREBF16(Y0, Y1, 0, (DI))
	STOREBF16(Y2, Y3, 0, (DI)(R12*1))
	STOREBF16(Y4, Y5, 0, (DI)(R12*2))
	STOREBF16(Y6, Y7, 0, (DI)(R11*1))
	ADDQ $64, DI
	ADDQ $32, R10
	SUBQ $16, BX
	JNZ  narrow
	VZEROUPPER
	RET

// func weightedSumsF16x1AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsF16x1AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADF16(0)
	HEAD((SI), Y0, Y1)
	LOADF16(32)
	HEAD((SI), Y6, Y7)
	NEXTROW
	JNZ wideRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y6, Y7, 64, (DI))
	ADDQ $128, DI
	ADDQ $64, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADF16(0)
	HEAD((SI), Y0, Y1)
	NEXTROW
	JNZ narrowRow
	STOREF32(Y0, Y1, 0, (DI))

done:
	VZEROUPPER
	RET

// func weightedSumsF16x2AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsF16x2AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	LOADF16(32)
	HEAD((SI), Y6, Y7)
	HEAD((SI)(R13*1), Y8, Y9)
	NEXTROW
	JNZ wideRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y6, Y7, 64, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))
	STOREF32(Y8, Y9, 64, (DI)(R12*1))
	ADDQ $128, DI
	ADDQ $64, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	NEXTROW
	JNZ narrowRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))

done:
	VZEROUPPER
	RET

// func weightedSumsF16x3AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsF16x3AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	LOADF16(32)
	HEAD((SI), Y6, Y7)
	HEAD((SI)(R13*1), Y8, Y9)
	HEAD((SI)(R13*2), Y10, Y11)
	NEXTROW
	JNZ wideRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y6, Y7, 64, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))
	STOREF32(Y8, Y9, 64, (DI)(R12*1))
	STOREF32(Y4, Y5, 0, (DI)(R12*2))
	STOREF32(Y10, Y11, 64, (DI)(R12*2))
	ADDQ $128, DI
	ADDQ $64, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	NEXTROW
	JNZ narrowRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))
	STOREF32(Y4, Y5, 0, (DI)(R12*2))

done:
	VZEROUPPER
	RET

// func weightedSumsF16x4AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsF16x4AVX2(SB), NOSPLIT, $0-80
	BEGIN

narrow:
	ZERO

narrowRow:
	LOADF16(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	HEAD((SI)(R14*1), Y6, Y7)
	NEXTROW
	JNZ narrowRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))
	STOREF32(Y4, Y5, 0, (DI)(R12*2))
	STOREF32(Y6, Y7, 0, (DI)(R11*1))
	ADDQ $64, DI
	ADDQ $32, R10
	SUBQ $16, BX
	JNZ  narrow
	VZEROUPPER
	RET

// func weightedSumsF32x1AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsF32x1AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADF32(0)
	HEAD((SI), Y0, Y1)
	LOADF32(64)
	HEAD((SI), Y6, Y7)
	NEXTROW
	JNZ wideRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y6, Y7, 64, (DI))
	ADDQ $128, DI
	ADDQ $128, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADF32(0)
	HEAD((SI), Y0, Y1)
	NEXTROW
	JNZ narrowRow
	STOREF32(Y0, Y1, 0, (DI))

done:
	VZEROUPPER
	RET

// func weightedSumsF32x2AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsF32x2AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADF32(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	LOADF32(64)
	HEAD((SI), Y6, Y7)
	HEAD((SI)(R13*1), Y8, Y9)
	NEXTROW
	JNZ wideRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y6, Y7, 64, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))
	STOREF32(Y8, Y9, 64, (DI)(R12*1))
	ADDQ $128, DI
	ADDQ $128, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADF32(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	NEXTROW
	JNZ narrowRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))

done:
	VZEROUPPER
	RET

// func weightedSumsF32x3AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsF32x3AVX2(SB), NOSPLIT, $0-80
	BEGIN

wide:
	SUBQ $32, BX
	JL   narrow
	ZERO

wideRow:
	LOADF32(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	LOADF32(64)
	HEAD((SI), Y6, Y7)
	HEAD((SI)(R13*1), Y8, Y9)
	HEAD((SI)(R13*2), Y10, Y11)
	NEXTROW
	JNZ wideRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y6, Y7, 64, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))
	STOREF32(Y8, Y9, 64, (DI)(R12*1))
	STOREF32(Y4, Y5, 0, (DI)(R12*2))
	STOREF32(Y10, Y11, 64, (DI)(R12*2))
	ADDQ $128, DI
	ADDQ $128, R10
	JMP  wide

narrow:
	ADDQ $32, BX
	JZ   done
	ZERO

narrowRow:
	LOADF32(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	NEXTROW
	JNZ narrowRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))
	STOREF32(Y4, Y5, 0, (DI)(R12*2))

done:
	VZEROUPPER
	RET

// func weightedSumsF32x4AVX2(y *float32, yStride int, p *float32, pStride, t int, v unsafe.Pointer, rowBytes, n int, next uintptr, step int)
TEXT ·weightedSumsF32x4AVX2(SB), NOSPLIT, $0-80
	BEGIN

narrow:
	ZERO

narrowRow:
	LOADF32(0)
	HEAD((SI), Y0, Y1)
	HEAD((SI)(R13*1), Y2, Y3)
	HEAD((SI)(R13*2), Y4, Y5)
	HEAD((SI)(R14*1), Y6, Y7)
	NEXTROW
	JNZ narrowRow
	STOREF32(Y0, Y1, 0, (DI))
	STOREF32(Y2, Y3, 0, (DI)(R12*1))
	STOREF32(Y4, Y5, 0, (DI)(R12*2))
	STOREF32(Y6, Y7, 0, (DI)(R11*1))
	ADDQ $64, DI
	ADDQ $64, R10
	SUBQ $16, BX
	JNZ  narrow
	VZEROUPPER
	RET
