#include "textflag.h"

// Twelve products at a time, of R rows that follow one another in memory and V vectors: 6 and 2,
// 4 and 3, or 3 and 4. The elements of a row are converted to float32 once for all vectors.
// Every product has the order of dot16_avx2_amd64.s: one accumulator of eight lanes, first the
// even and then the odd elements of 16 (bfloat16), or the first and then the last eight. The sum
// of row r and vector v is in register r*V+v.
//
// Row r is at R8 + r*R9, where R11 = 3*R9 and R12 = 5*R9; vector v is at R10 + v*R13, where
// R14 = 3*R13. Every 32 elements, R lines of 64 bytes from AX on are prefetched into the second
// cache, and AX moves on by DX. The products of vector v go to DI + v*BX.

#define BEGIN \
	MOVQ out+0(FP), DI; \
	MOVQ rows+8(FP), R8; \
	MOVQ xStride+24(FP), R13; \
	LEAQ (R13)(R13*2), R14; \
	MOVQ rowBytes+40(FP), R9; \
	LEAQ (R9)(R9*2), R11; \
	LEAQ (R9)(R9*4), R12; \
	MOVQ count+48(FP), SI; \
	MOVQ next+56(FP), AX; \
	MOVQ step+64(FP), DX

#define ZERO \
	MOVQ x+16(FP), R10; \
	MOVQ n+32(FP), CX; \
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
	VXORPS Y11, Y11, Y11; \
	SUBQ $32, CX

#define PREFETCH3 \
	PREFETCHT1 (AX); \
	PREFETCHT1 64(AX); \
	PREFETCHT1 128(AX); \
	ADDQ       DX, AX

#define PREFETCH4 \
	PREFETCHT1 192(AX); \
	PREFETCH3

#define PREFETCH6 \
	PREFETCHT1 256(AX); \
	PREFETCHT1 320(AX); \
	PREFETCH4

// VECTOR adds the products of the eight elements in Y15, of one vector, with those of
// three rows in Y12 to Y14.
#define VECTOR(x, a, b, c) \
	VMOVUPS     x, Y15; \
	VFMADD231PS Y12, Y15, a; \
	VFMADD231PS Y13, Y15, b; \
	VFMADD231PS Y14, Y15, c

// EIGHT4, EIGHT3 and EIGHT2 multiply eight elements of every row, which load converts, with
// eight elements at xat of every vector.
#define EIGHT4(load, at, xat) \
	load(at, (R8), Y12, X12); \
	load(at, (R8)(R9*1), Y13, X13); \
	load(at, (R8)(R9*2), Y14, X14); \
	VECTOR(xat(R10), Y0, Y4, Y8); \
	VECTOR(xat(R10)(R13*1), Y1, Y5, Y9); \
	VECTOR(xat(R10)(R13*2), Y2, Y6, Y10); \
	VECTOR(xat(R10)(R14*1), Y3, Y7, Y11)

#define ROW3(load, at, row, a, b, c) \
	load(at, row, Y15, X15); \
	VFMADD231PS Y12, Y15, a; \
	VFMADD231PS Y13, Y15, b; \
	VFMADD231PS Y14, Y15, c

#define EIGHT3(load, at, xat) \
	VMOVUPS xat(R10), Y12; \
	VMOVUPS xat(R10)(R13*1), Y13; \
	VMOVUPS xat(R10)(R13*2), Y14; \
	ROW3(load, at, (R8), Y0, Y1, Y2); \
	ROW3(load, at, (R8)(R9*1), Y3, Y4, Y5); \
	ROW3(load, at, (R8)(R9*2), Y6, Y7, Y8); \
	ROW3(load, at, (R8)(R11*1), Y9, Y10, Y11)

#define ROW2(load, at, row, t, tx, a, b) \
	load(at, row, t, tx); \
	VFMADD231PS Y12, t, a; \
	VFMADD231PS Y13, t, b

#define EIGHT2(load, at, xat) \
	VMOVUPS xat(R10), Y12; \
	VMOVUPS xat(R10)(R13*1), Y13; \
	ROW2(load, at, (R8), Y14, X14, Y0, Y1); \
	ROW2(load, at, (R8)(R9*1), Y15, X15, Y2, Y3); \
	ROW2(load, at, (R8)(R9*2), Y14, X14, Y4, Y5); \
	ROW2(load, at, (R8)(R11*1), Y15, X15, Y6, Y7); \
	ROW2(load, at, (R8)(R9*4), Y14, X14, Y8, Y9); \
	ROW2(load, at, (R8)(R12*1), Y15, X15, Y10, Y11)

// SUM4 adds the lanes of four accumulators, neighbours and then halves. SUM3 and SUM2 do so for
// three and two.
#define SUM4(a, b, c, d, low) \
	VHADDPS b, a, a; \
	VHADDPS d, c, c; \
	VHADDPS c, a, a; \
	VEXTRACTF128 $1, a, X15; \
	VADDPS X15, low, low

#define SUM3(a, b, c, low, to) \
	SUM4(a, b, c, c, low); \
	VMOVSD low, to; \
	VEXTRACTPS $2, low, 8 to

#define SUM2(a, b, low, to) \
	VHADDPS b, a, a; \
	VHADDPS a, a, a; \
	VEXTRACTF128 $1, a, X15; \
	VADDPS X15, low, low; \
	VMOVSD low, to

#define SUMS4 \
	MOVQ outStride+72(FP), BX; \
	LEAQ (BX)(BX*2), CX; \
	SUM3(Y0, Y4, Y8, X0, (DI)); \
	SUM3(Y1, Y5, Y9, X1, (DI)(BX*1)); \
	SUM3(Y2, Y6, Y10, X2, (DI)(BX*2)); \
	SUM3(Y3, Y7, Y11, X3, (DI)(CX*1)); \
	ADDQ $12, DI

#define SUMS3 \
	MOVQ outStride+72(FP), BX; \
	SUM4(Y0, Y3, Y6, Y9, X0); \
	SUM4(Y1, Y4, Y7, Y10, X1); \
	SUM4(Y2, Y5, Y8, Y11, X2); \
	VMOVUPS X0, (DI); \
	VMOVUPS X1, (DI)(BX*1); \
	VMOVUPS X2, (DI)(BX*2); \
	ADDQ $16, DI

#define SUMS2 \
	MOVQ outStride+72(FP), BX; \
	SUM4(Y0, Y2, Y4, Y6, X0); \
	SUM4(Y1, Y3, Y5, Y7, X1); \
	VMOVUPS X0, (DI); \
	VMOVUPS X1, (DI)(BX*1); \
	SUM2(Y8, Y10, X8, 16(DI)); \
	SUM2(Y9, Y11, X9, 16(DI)(BX*1)); \
	ADDQ $24, DI

#define LOOP \
	DECQ SI; \
	JNZ group; \
	VZEROUPPER; \
	RET

DATA odds<>+0(SB)/8, $0xffff0000ffff0000
DATA odds<>+8(SB)/8, $0xffff0000ffff0000
DATA odds<>+16(SB)/8, $0xffff0000ffff0000
DATA odds<>+24(SB)/8, $0xffff0000ffff0000
GLOBL odds<>(SB), RODATA|NOPTR, $32

// The first and the second eight of 16 elements of a row, and the same of its last 16 under
// the mask behind vector 0.
#define BF16FIRST(at, row, y, x) \
	VMOVDQU at row, y; \
	VPSLLD  $16, y, y

#define BF16SECOND(at, row, y, x) \
	VMOVDQU at row, y; \
	VPAND   odds<>(SB), y, y

#define BF16FIRSTMASKED(at, row, y, x) \
	VMOVDQU 64(R10), y; \
	VPAND   at row, y, y; \
	VPSLLD  $16, y, y

#define BF16SECONDMASKED(at, row, y, x) \
	VMOVDQU 64(R10), y; \
	VPAND   odds<>(SB), y, y; \
	VPAND   at row, y, y

#define F16FIRST(at, row, y, x) \
	VCVTPH2PS at row, y

#define F16SECOND(at, row, y, x) \
	VCVTPH2PS (at+16) row, y

#define F16FIRSTMASKED(at, row, y, x) \
	VMOVDQU   64(R10), x; \
	VPAND     at row, x, x; \
	VCVTPH2PS x, y

#define F16SECONDMASKED(at, row, y, x) \
	VMOVDQU   80(R10), x; \
	VPAND     (at+16) row, x, x; \
	VCVTPH2PS x, y

#define F32FIRST(at, row, y, x) \
	VMOVUPS at row, y

#define F32SECOND(at, row, y, x) \
	VMOVUPS (at+32) row, y

#define F32FIRSTMASKED(at, row, y, x) \
	VMOVUPS 64(R10), y; \
	VANDPS  at row, y, y

#define F32SECONDMASKED(at, row, y, x) \
	VMOVUPS 96(R10), y; \
	VANDPS  (at+32) row, y, y

// func dotsBF16x4AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsBF16x4AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH3
	EIGHT4(BF16FIRST, 0, 0)
	EIGHT4(BF16SECOND, 0, 32)
	EIGHT4(BF16FIRST, 32, 64)
	EIGHT4(BF16SECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT4(BF16FIRST, 0, 0)
	EIGHT4(BF16SECOND, 0, 32)
	ADDQ $32, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $1, BX
	SUBQ BX, R8
	EIGHT4(BF16FIRSTMASKED, 0, 0)
	EIGHT4(BF16SECONDMASKED, 0, 32)
	ADDQ $32, R8

done:
	SUMS4
	LEAQ (R8)(R9*2), R8
	LOOP

// func dotsBF16x3AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsBF16x3AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH4
	EIGHT3(BF16FIRST, 0, 0)
	EIGHT3(BF16SECOND, 0, 32)
	EIGHT3(BF16FIRST, 32, 64)
	EIGHT3(BF16SECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT3(BF16FIRST, 0, 0)
	EIGHT3(BF16SECOND, 0, 32)
	ADDQ $32, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $1, BX
	SUBQ BX, R8
	EIGHT3(BF16FIRSTMASKED, 0, 0)
	EIGHT3(BF16SECONDMASKED, 0, 32)
	ADDQ $32, R8

done:
	SUMS3
	ADDQ R11, R8
	LOOP

// func dotsBF16x2AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsBF16x2AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH6
	EIGHT2(BF16FIRST, 0, 0)
	EIGHT2(BF16SECOND, 0, 32)
	EIGHT2(BF16FIRST, 32, 64)
	EIGHT2(BF16SECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT2(BF16FIRST, 0, 0)
	EIGHT2(BF16SECOND, 0, 32)
	ADDQ $32, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $1, BX
	SUBQ BX, R8
	EIGHT2(BF16FIRSTMASKED, 0, 0)
	EIGHT2(BF16SECONDMASKED, 0, 32)
	ADDQ $32, R8

done:
	SUMS2
	ADDQ R12, R8
	LOOP

// func dotsF16x4AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsF16x4AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH3
	EIGHT4(F16FIRST, 0, 0)
	EIGHT4(F16SECOND, 0, 32)
	EIGHT4(F16FIRST, 32, 64)
	EIGHT4(F16SECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT4(F16FIRST, 0, 0)
	EIGHT4(F16SECOND, 0, 32)
	ADDQ $32, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $1, BX
	SUBQ BX, R8
	EIGHT4(F16FIRSTMASKED, 0, 0)
	EIGHT4(F16SECONDMASKED, 0, 32)
	ADDQ $32, R8

done:
	SUMS4
	LEAQ (R8)(R9*2), R8
	LOOP

// func dotsF16x3AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsF16x3AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH4
	EIGHT3(F16FIRST, 0, 0)
	EIGHT3(F16SECOND, 0, 32)
	EIGHT3(F16FIRST, 32, 64)
	EIGHT3(F16SECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT3(F16FIRST, 0, 0)
	EIGHT3(F16SECOND, 0, 32)
	ADDQ $32, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $1, BX
	SUBQ BX, R8
	EIGHT3(F16FIRSTMASKED, 0, 0)
	EIGHT3(F16SECONDMASKED, 0, 32)
	ADDQ $32, R8

done:
	SUMS3
	ADDQ R11, R8
	LOOP

// func dotsF16x2AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsF16x2AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH6
	EIGHT2(F16FIRST, 0, 0)
	EIGHT2(F16SECOND, 0, 32)
	EIGHT2(F16FIRST, 32, 64)
	EIGHT2(F16SECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT2(F16FIRST, 0, 0)
	EIGHT2(F16SECOND, 0, 32)
	ADDQ $32, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $1, BX
	SUBQ BX, R8
	EIGHT2(F16FIRSTMASKED, 0, 0)
	EIGHT2(F16SECONDMASKED, 0, 32)
	ADDQ $32, R8

done:
	SUMS2
	ADDQ R12, R8
	LOOP

// func dotsF32x4AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsF32x4AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH3
	EIGHT4(F32FIRST, 0, 0)
	EIGHT4(F32SECOND, 0, 32)
	EIGHT4(F32FIRST, 64, 64)
	EIGHT4(F32SECOND, 64, 96)
	ADDQ $128, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT4(F32FIRST, 0, 0)
	EIGHT4(F32SECOND, 0, 32)
	ADDQ $64, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $2, BX
	SUBQ BX, R8
	EIGHT4(F32FIRSTMASKED, 0, 0)
	EIGHT4(F32SECONDMASKED, 0, 32)
	ADDQ $64, R8

done:
	SUMS4
	LEAQ (R8)(R9*2), R8
	LOOP

// func dotsF32x3AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsF32x3AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH4
	EIGHT3(F32FIRST, 0, 0)
	EIGHT3(F32SECOND, 0, 32)
	EIGHT3(F32FIRST, 64, 64)
	EIGHT3(F32SECOND, 64, 96)
	ADDQ $128, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT3(F32FIRST, 0, 0)
	EIGHT3(F32SECOND, 0, 32)
	ADDQ $64, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $2, BX
	SUBQ BX, R8
	EIGHT3(F32FIRSTMASKED, 0, 0)
	EIGHT3(F32SECONDMASKED, 0, 32)
	ADDQ $64, R8

done:
	SUMS3
	ADDQ R11, R8
	LOOP

// func dotsF32x2AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsF32x2AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH6
	EIGHT2(F32FIRST, 0, 0)
	EIGHT2(F32SECOND, 0, 32)
	EIGHT2(F32FIRST, 64, 64)
	EIGHT2(F32SECOND, 64, 96)
	ADDQ $128, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   rest
	EIGHT2(F32FIRST, 0, 0)
	EIGHT2(F32SECOND, 0, 32)
	ADDQ $64, R8
	ADDQ $64, R10
	SUBQ $16, CX

rest: // the last 16 once more, of which CX were not yet read
	ADDQ $16, CX
	JZ   done
	MOVQ $16, BX
	SUBQ CX, BX
	SHLQ $2, BX
	SUBQ BX, R8
	EIGHT2(F32FIRSTMASKED, 0, 0)
	EIGHT2(F32SECONDMASKED, 0, 32)
	ADDQ $64, R8

done:
	SUMS2
	ADDQ R12, R8
	LOOP

// The rows of these kernels are a multiple of 16 long, and the vectors are not rearranged.
#define NATURALFIRST(at, row, y, x) \
	VPMOVZXWD at row, y; \
	VPSLLD    $16, y, y

#define NATURALSECOND(at, row, y, x) \
	VPMOVZXWD (at+16) row, y; \
	VPSLLD    $16, y, y

// func dotsNatural16x4AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsNatural16x4AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH3
	EIGHT4(NATURALFIRST, 0, 0)
	EIGHT4(NATURALSECOND, 0, 32)
	EIGHT4(NATURALFIRST, 32, 64)
	EIGHT4(NATURALSECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   done
	EIGHT4(NATURALFIRST, 0, 0)
	EIGHT4(NATURALSECOND, 0, 32)
	ADDQ $32, R8

done:
	SUMS4
	LEAQ (R8)(R9*2), R8
	LOOP

// func dotsNatural16x3AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsNatural16x3AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH4
	EIGHT3(NATURALFIRST, 0, 0)
	EIGHT3(NATURALSECOND, 0, 32)
	EIGHT3(NATURALFIRST, 32, 64)
	EIGHT3(NATURALSECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   done
	EIGHT3(NATURALFIRST, 0, 0)
	EIGHT3(NATURALSECOND, 0, 32)
	ADDQ $32, R8

done:
	SUMS3
	ADDQ R11, R8
	LOOP

// func dotsNatural16x2AVX2(out *float32, rows unsafe.Pointer, x *float32, xStride, n, rowBytes, count int, next uintptr, step, outStride int)
TEXT ·dotsNatural16x2AVX2(SB), NOSPLIT, $0-80
	BEGIN

group:
	ZERO
	JL one

loop:
	PREFETCH6
	EIGHT2(NATURALFIRST, 0, 0)
	EIGHT2(NATURALSECOND, 0, 32)
	EIGHT2(NATURALFIRST, 32, 64)
	EIGHT2(NATURALSECOND, 32, 96)
	ADDQ $64, R8
	ADDQ $128, R10
	SUBQ $32, CX
	JGE  loop

one:
	ADDQ $16, CX
	JL   done
	EIGHT2(NATURALFIRST, 0, 0)
	EIGHT2(NATURALSECOND, 0, 32)
	ADDQ $32, R8

done:
	SUMS2
	ADDQ R12, R8
	LOOP
