package latency

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-12*max(1, math.Abs(want)) }

func TestSpreadByHand(t *testing.T) {
	// Mean 40/8 = 5; squared deviations 9+1+1+1+0+0+4+16 = 32, over n-1 = 7.
	s := spread([]float64{9, 2, 5, 4, 4, 7, 4, 5})
	if s.Median != 4.5 || s.Mean != 5 || s.SD == nil || !near(*s.SD, math.Sqrt(32.0/7)) {
		t.Errorf("want median 4.5, mean 5, sd sqrt(32/7), got %v, %v, %v", s.Median, s.Mean, s.SD)
	}
	if s := spread([]float64{3}); s.Median != 3 || s.Mean != 3 || s.SD != nil {
		t.Errorf("one value: want 3, 3 and no deviation, got %v, %v, %v", s.Median, s.Mean, s.SD)
	}
}

func TestPercentilesOnlyWhereTheSampleAllows(t *testing.T) {
	for _, c := range []struct {
		n    int
		want map[string]float64 // of 1..n: 1 + (n-1)p/100
	}{
		{1, map[string]float64{}},
		{3, map[string]float64{}},
		{4, map[string]float64{"p25": 1.75, "p75": 3.25}},
		{9, map[string]float64{"p25": 3, "p75": 7}},
		{10, map[string]float64{"p25": 3.25, "p75": 7.75, "p90": 9.1}},
		{20, map[string]float64{"p25": 5.75, "p75": 15.25, "p90": 18.1, "p95": 19.05}},
		{99, map[string]float64{"p25": 25.5, "p75": 74.5, "p90": 89.2, "p95": 94.1}},
		{100, map[string]float64{"p25": 25.75, "p75": 75.25, "p90": 90.1, "p95": 95.05, "p99": 99.01}},
	} {
		x := make([]float64, c.n)
		for i := range x {
			x[i] = float64(c.n - i) // descending: the sample need not be sorted
		}
		if got := percentiles(x); !maps.EqualFunc(got, c.want, near) {
			t.Errorf("n = %d: want %v, got %v", c.n, c.want, got)
		}
	}
}

func TestStatisticsAgainstNumpy(t *testing.T) {
	b, err := os.ReadFile("testdata/statistics.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Dense, Model             []float64
			Median, Mean, SD, LO, HI float64
			Speedup                  float64
			Percentiles              map[string]float64
			Index                    [][]int
		}
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) == 0 {
		t.Fatal("no golden cases")
	}
	for _, c := range golden.Cases {
		s := spread(c.Dense)
		if !near(s.Median, c.Median) || !near(s.Mean, c.Mean) || !near(*s.SD, c.SD) {
			t.Errorf("n = %d: want %v, %v, %v, got %v, %v, %v", len(c.Dense), c.Median, c.Mean, c.SD, s.Median, s.Mean, *s.SD)
		}
		if got := percentiles(c.Dense); !maps.EqualFunc(got, c.Percentiles, near) {
			t.Errorf("n = %d: want %v, got %v", len(c.Dense), c.Percentiles, got)
		}
		next := 0
		lo, hi := bootstrap(c.Dense, c.Model, len(c.Index), func(index []int) {
			copy(index, c.Index[next])
			next++
		})
		if !near(lo, c.LO) || !near(hi, c.HI) {
			t.Errorf("n = %d: want interval %v to %v, got %v to %v", len(c.Dense), c.LO, c.HI, lo, hi)
		}
		if got := speedup(Protocol{}, c.Dense, c.Model).Median; !near(got, c.Speedup) {
			t.Errorf("n = %d: want speed-up %v, got %v", len(c.Dense), c.Speedup, got)
		}
	}
}

// The paper's ten kept rounds and a disturbance that a round's models share: of
// 400 intervals about 95 % hold the true ratio of medians, on a calm machine, on
// one that disturbs every third run, and on one where every time is off by 40 %.
// What a busy machine does to the interval is to make it wide.
func TestIntervalCoversTheTruth(t *testing.T) {
	const simulations, rounds, truth = 400, 10, 1.5
	r := rand.New(rand.NewPCG(7, 7))
	noise := func(sd float64) float64 { return math.Exp(sd * r.NormFloat64()) }
	for _, machine := range []struct {
		name  string
		noise func() float64
	}{
		{"calm", func() float64 { return noise(0.03) }},
		{"spikes", func() float64 { return noise(0.03) * (1 + r.Float64()*float64(max(0, r.IntN(3)-1))) }},
		{"busy", func() float64 { return noise(0.4) }},
	} {
		covered := 0
		for range simulations {
			dense, model := make([]float64, rounds), make([]float64, rounds)
			for i := range dense {
				shared := noise(0.05)
				dense[i], model[i] = 150*shared*machine.noise(), 100*shared*machine.noise()
			}
			lo, hi := bootstrap(dense, model, 1000, func(index []int) {
				for i := range index {
					index[i] = r.IntN(rounds)
				}
			})
			if lo <= truth && truth <= hi {
				covered++
			}
		}
		if share := float64(covered) / simulations; share < 0.90 || share > 0.985 {
			t.Errorf("%s: want 90 to 98.5 %% of the intervals to hold the truth, got %.2f %%", machine.name, 100*share)
		}
	}
}

// Rounds that differ wildly, but with a fixed ratio within each: resampled as
// pairs, the odd number of rounds leaves no spread at all.
func TestBootstrapKeepsPairs(t *testing.T) {
	dense := []float64{100, 1000, 300, 50, 700}
	model := make([]float64, len(dense))
	for i := range dense {
		model[i] = dense[i] / 4
	}
	s := speedup(Protocol{Seed: 3}, dense, model)
	if s.Median != 4 || *s.Lo != 4 || *s.Hi != 4 {
		t.Errorf("want 4 [4, 4], got %v [%v, %v]", s.Median, *s.Lo, *s.Hi)
	}
	if s := speedup(Protocol{}, dense[:1], model[:1]); s.Median != 4 || s.Lo != nil || s.Hi != nil {
		t.Errorf("one round: want 4 without an interval, got %v [%v, %v]", s.Median, s.Lo, s.Hi)
	}
}

func TestBootstrapIsSeeded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	dense, model := make([]float64, 9), make([]float64, 9)
	for i := range dense {
		dense[i], model[i] = 1+r.Float64(), 1+r.Float64()
	}
	before := slices.Clone(dense)
	a, b, c := speedup(Protocol{Seed: 1}, dense, model), speedup(Protocol{Seed: 1}, dense, model), speedup(Protocol{Seed: 2}, dense, model)
	if *a.Lo != *b.Lo || *a.Hi != *b.Hi {
		t.Errorf("same seed: want the same interval, got [%v, %v] and [%v, %v]", *a.Lo, *a.Hi, *b.Lo, *b.Hi)
	}
	if *a.Lo == *c.Lo && *a.Hi == *c.Hi {
		t.Errorf("want another interval for another seed, got [%v, %v] twice", *a.Lo, *a.Hi)
	}
	if !slices.Equal(dense, before) {
		t.Error("the samples were reordered")
	}
}
