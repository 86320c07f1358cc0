package hardware

import (
	"math"

	"golang.org/x/sys/cpu"

	kernel "mop/kernels/cpu"
)

// sumAVX2 adds 64*blocks words from p on, modulo 2^64, with 32-byte loads.
//
//go:noescape
func sumAVX2(p *uint64, blocks int) uint64

// sumAVX512 is sumAVX2 with 64-byte loads.
//
//go:noescape
func sumAVX512(p *uint64, blocks int) uint64

// fmaAVX2 adds x*y n times to each of 12 x 8 sums that begin at zero.
//
//go:noescape
func fmaAVX2(n int, x, y float32, sums *[96]float32)

// fmaAVX512 is fmaAVX2 with 12 x 16 sums.
//
//go:noescape
func fmaAVX512(n int, x, y float32, sums *[192]float32)

const blockWords = 64 // of the sums above

// probes lists what this processor can run, the widest first.
func probes() []probe {
	var list []probe
	vector := func(isa string, sum func(*uint64, int) uint64, fma func(n int, x, y float32) (float64, int)) {
		list = append(list, probe{isa, func(words []uint64) uint64 {
			blocks := len(words) / blockWords
			if blocks == 0 {
				return sumGeneric(words)
			}
			return sum(&words[0], blocks) + sumGeneric(words[blocks*blockWords:])
		}, fma})
	}
	if cpu.X86.HasAVX512F {
		vector("avx512", sumAVX512, func(n int, x, y float32) (float64, int) {
			var sums [192]float32
			fmaAVX512(n, x, y, &sums)
			return total(sums[:]), len(sums)
		})
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BF16 {
		vector(BF16, sumAVX512, func(n int, x, y float32) (float64, int) {
			var sums [384]float32
			kernel.MultiplyAddPairs(n/2, math.Float32bits(x)>>16*0x10001, math.Float32bits(y)>>16*0x10001, &sums)
			if n%2 == 1 {
				for i := range sums {
					sums[i] += x * y
				}
			}
			return total(sums[:]), len(sums)
		})
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW {
		vector("avx512"+Int16, sumAVX512, fmaInt16AVX512)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		vector("avx2", sumAVX2, func(n int, x, y float32) (float64, int) {
			var sums [96]float32
			fmaAVX2(n, x, y, &sums)
			return total(sums[:]), len(sums)
		})
	}
	if cpu.X86.HasAVX2 {
		vector("avx2"+Int16, sumAVX2, fmaInt16AVX2)
	}
	return append(list, generic())
}
