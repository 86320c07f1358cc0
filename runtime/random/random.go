// Package random is a counter-based random number generator. Every value is a pure
// function of a seed, a name and an index. It takes integer arithmetic and one float32
// multiplication, so every device computes the same bits, in any order.
//
// The formula, all arithmetic on unsigned 64-bit integers modulo 2^64:
//
//	mix(z)         z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
//	               z = (z ^ z>>27) * 0x94d049bb133111eb
//	               return z ^ z>>31
//	key(seed,name) h = 0xcbf29ce484222325 ^ mix(seed + G)
//	               for each byte b of name: h = (h ^ b) * 0x100000001b3
//	               return mix(h)
//	word(key,j)    mix(key + (j+1)*G)                       G = 0x9e3779b97f4a7c15
//
// Element i of a tensor comes from one half of a word: the low 32 bits if i is even,
// the high 32 bits if i is odd.
//
//	u = word(key, i>>1) >> (32 * (i&1))      taken as a signed 32-bit integer
//	m = 2*(u >> 8) + 1                       arithmetic shift; odd, |m| < 2^24
//	x = float32(m) * scale                   the conversion is exact; one rounding
//
// x is then rounded to the stored type, to nearest, ties to even; subnormal numbers are
// kept. m is uniform over the odd numbers in (-2^24, 2^24), symmetric and never zero.
// Therefore m*scale has the standard deviation std for scale = std*sqrt(3)/2^24, which is
// computed in float64 and rounded to float32 once, on the host.
//
// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable
// pseudorandom number generators", OOPSLA 2014, with Stafford's constants). The name is
// hashed with FNV-1a. Word j of a key is output j+1 of SplitMix64 started at that key.
package random

import "math"

const (
	golden    = 0x9e3779b97f4a7c15 // 2^64 / golden ratio, odd
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
	sqrt3     = 1.7320508075688772
)

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Key returns the key of a named stream, such as a tensor's.
func Key(seed uint64, name string) uint64 {
	h := uint64(fnvOffset) ^ mix(seed+golden)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * fnvPrime
	}
	return mix(h)
}

// Word returns the j-th 64 random bits of a stream.
func Word(key, j uint64) uint64 { return mix(key + (j+1)*golden) }

// Scale returns the factor that gives Uniform the standard deviation std. The values
// are then bounded by std*sqrt(3).
func Scale(std float64) float32 { return float32(std * sqrt3 / (1 << 24)) }

// Uniform returns element i of a stream, uniform and symmetric about zero.
func Uniform(key, i uint64, scale float32) float32 {
	return value(uint32(Word(key, i>>1)>>(32*(i&1))), scale)
}

// Exponential returns an exponentially distributed number of mean 1 from word j:
// -log(1-u), where u is the word's high 32 bits plus a half, divided by 2^32. The i
// with the smallest Exponential(key, i) / p[i] is a sample from the distribution p.
func Exponential(key, j uint64) float64 {
	return -math.Log1p(-(float64(Word(key, j)>>32) + 0.5) * 0x1p-32)
}

// value converts 32 random bits to one element.
func value(u uint32, scale float32) float32 {
	return float32(2*(int32(u)>>8)+1) * scale
}
