package cpu

import (
	"sync"
	"unsafe"
)

// DotRows multiplies one vector with the first row of each of the type's streams, then with
// the rows that follow each of them in memory, and so on.
// out [count][t.Streams()], rows [t.Streams()][count*n] of type t, x what Arrange made
// of n floats
func (s Set) DotRows(t Type, out []float32, rows *[MaxStreams]unsafe.Pointer, x []float32, n int) {
	_ = x[:Arranged(n)]
	count := len(out) / t.Streams()
	switch {
	case count == 0:
	case t == I8 && s != Generic && n > 0:
		q, scales := int8Arranged(x, n)
		dotsInt8AVX2((*[4]float32)(out), rows, &q[0], &scales[0], len(q), count, prefetchDistance(t))
	case s == Generic || n < 16:
		dotRowsGeneric(t, out, rows, x, n)
	case t == BF16:
		dotsBF16AVX2(&out[0], rows, &x[0], n, count, prefetchDistance(t))
	case t == F16:
		dotsF16AVX2(&out[0], rows, &x[0], n, count, prefetchDistance(t))
	default:
		dotsF32AVX2((*[4]float32)(out), rows, &x[0], n, count, prefetchDistance(t))
	}
}

// The kernels below want n >= 16.

//go:noescape
func dotsBF16AVX2(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsF16AVX2(out *float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)

//go:noescape
func dotsF32AVX2(out *[4]float32, rows *[MaxStreams]unsafe.Pointer, x *float32, n, count, ahead int)

// deinterleave gives each step of x its even elements first.   dst, x [n], n a
// multiple of the step, n > 0
func (s Set) deinterleave(dst, x []float32) { deinterleave16(&dst[0], &x[0], len(x)) }

//go:noescape
func deinterleave16(dst, x *float32, n int)

// prefetchDistance is how many bytes ahead of their use DotRows prefetches a row. The processor's own prefetching brings most of what a stream needs into the
// second cache, but stops at pages. A Zen 4 wants the lines that it brought moved into
// the first one shortly before their use: asked for from memory, 2 or 4 KiB ahead, they
// occupy what it keeps track of misses with. A Zen 5 wants to be asked long before.
func prefetchDistance(t Type) int {
	switch {
	case !zen5():
		return 384
	case t == I8:
		return 4096
	}
	return 2048
}

// zen5 tells AMD's family 26.
var zen5 = sync.OnceValue(func() bool {
	_, b, c, d := cpuid(0)
	version, _, _, _ := cpuid(1)
	return vendor(b, d, c) == "AuthenticAMD" && family(version) == 26
})

// vendor is the text that three registers hold.
func vendor(registers ...uint32) string {
	var text []byte
	for _, r := range registers {
		text = append(text, byte(r), byte(r>>8), byte(r>>16), byte(r>>24))
	}
	return string(text)
}

// family is what leaf 1 tells: AMD64 Architecture Programmer's Manual, volume 3, CPUID
// Fn0000_0001_EAX.
func family(version uint32) uint32 {
	base, extended := version>>8&15, version>>20&255
	if base == 15 {
		return base + extended
	}
	return base
}

// cpuid is the instruction, for a leaf without subleaves.
//
//go:noescape
func cpuid(leaf uint32) (a, b, c, d uint32)
