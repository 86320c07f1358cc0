package hardware

import (
	"fmt"
	"time"
)

// Peak is a measured rate of multiply-adds from registers, with float32 sums, or of
// integers with int32 sums. No matrix product can exceed it. A multiply-add counts as two operations.
type Peak struct {
	Threads int     `json:"threads"`
	ISA     string  `json:"isa"`
	GFLOPs  float64 `json:"gflops"` // of the fastest pass, 1e9 operations/s
	Passes  int     `json:"passes"`
}

const (
	// One to two milliseconds: so short that some passes are undisturbed on
	// a busy machine. A sum of ones stays exact in float32 up to 2^24.
	peakSteps = 1 << 20
	peakTime  = 200 * time.Millisecond
)

// FMAPeak measures how fast threads together multiply and add with an
// instruction set of ISAs ("" = the widest), pass after pass of a millisecond or
// two, for about 0.2 s; the fastest pass counts.
func FMAPeak(threads int, isa string) (Peak, error) {
	if threads < 1 || threads > maxThreads {
		return Peak{}, fmt.Errorf("hardware: threads: want 1 to %d, got %d", maxThreads, threads)
	}
	p, err := probeFor(isa)
	if err != nil {
		return Peak{}, err
	}
	k := Peak{Threads: threads, ISA: p.isa}
	totals, sums := make([]float64, threads), make([]int, threads)
	for begin := time.Now(); k.Passes < minPasses || time.Since(begin) < peakTime; k.Passes++ {
		elapsed := each(threads, func(i int) { totals[i], sums[i] = p.fma(peakSteps, 1, 1) })
		operations := 0.0
		for i := range threads {
			if want := float64(sums[i]) * peakSteps; totals[i] != want {
				return Peak{}, fmt.Errorf("hardware: %s: want %v products, got %v", p.isa, want, totals[i])
			}
			operations += 2 * totals[i]
		}
		k.GFLOPs = max(k.GFLOPs, operations/float64(elapsed.Nanoseconds()))
	}
	return k, nil
}
