package hardware

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// BF16 names AVX-512's products of bfloat16 numbers, sums of which are float32.
const BF16 = "avx512bf16"

// Int16 follows the name of an instruction set for its products of int16 numbers, sums
// of which are int32: what int8 weights are multiplied by. A product and its addition
// count as a multiply-add.
const Int16 = "int16"

// probe is one instruction set's pair of loops. All probes give the same results, since
// sums of words modulo 2^64 do not depend on the order, and the sums of products are exact.
type probe struct {
	isa string
	// sum adds all words modulo 2^64.
	sum func(words []uint64) uint64
	// fma adds x*y n times to each of some sums that begin at zero; it returns
	// the total of the sums, and how many there are. x and y are bfloat16 numbers and
	// multiples of a half.
	fma func(n int, x, y float32) (total float64, sums int)
}

// ISAs names the instruction sets that this processor can be measured with, the
// widest first; the last is "generic", what Go's compiler makes.
func ISAs() []string {
	var names []string
	for _, p := range probes() {
		names = append(names, p.isa)
	}
	return names
}

// probeFor finds a probe by name; "" is the widest.
func probeFor(isa string) (probe, error) {
	list := probes()
	if isa == "" {
		return list[0], nil
	}
	for _, p := range list {
		if p.isa == isa {
			return p, nil
		}
	}
	return probe{}, fmt.Errorf("hardware: instruction set: want one of %s, got %q", strings.Join(ISAs(), ", "), isa)
}

func generic() probe { return probe{"generic", sumGeneric, fmaGeneric} }

// sumGeneric has eight streams of additions: the loads bound the speed, not
// the latency of the addition.
func sumGeneric(words []uint64) uint64 {
	var a, b, c, d, e, f, g, h uint64
	for len(words) >= 8 {
		w := words[:8:8]
		a += w[0]
		b += w[1]
		c += w[2]
		d += w[3]
		e += w[4]
		f += w[5]
		g += w[6]
		h += w[7]
		words = words[8:]
	}
	for _, w := range words {
		a += w
	}
	return a + b + c + d + e + f + g + h
}

// fmaGeneric has eight scalar sums in flight.
func fmaGeneric(n int, x, y float32) (float64, int) {
	var s [8]float32
	a, b, c, d, e, f, g, h := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	for range n {
		a += x * y
		b += x * y
		c += x * y
		d += x * y
		e += x * y
		f += x * y
		g += x * y
		h += x * y
	}
	s = [8]float32{a, b, c, d, e, f, g, h}
	return total(s[:]), len(s)
}

func total(sums []float32) (t float64) {
	for _, s := range sums {
		t += float64(s)
	}
	return t
}

// each runs f for 0..n-1 at once, on a thread each, and waits for all. It returns
// the time from the first one's start to the last one's end: making the threads
// is not counted.
func each(n int, f func(i int)) time.Duration {
	start, end := make([]time.Time, n), make([]time.Time, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			start[i] = time.Now()
			f(i)
			end[i] = time.Now()
		})
	}
	wait.Wait()
	return slices.MaxFunc(end, time.Time.Compare).Sub(slices.MinFunc(start, time.Time.Compare))
}
