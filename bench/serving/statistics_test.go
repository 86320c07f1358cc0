package serving

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// The metrics of a row, worked by hand.
func TestRows(t *testing.T) {
	level := Level{Concurrency: 2}
	sample := func(ttft, latency time.Duration, out int) Sample {
		return Sample{TTFT: ttft * time.Millisecond, Latency: latency * time.Millisecond, Out: out}
	}
	runs := []Run{
		{Target: "dense", Level: level, Wall: time.Second, Samples: []Sample{sample(100, 500, 5), sample(200, 1000, 5)}},
		{Target: "pruned", Level: level, Wall: time.Second / 2, Samples: []Sample{sample(50, 250, 5), {Error: "gone"}}},
		{Target: "dense", Level: level, Round: 1, Wall: time.Second, Samples: []Sample{sample(100, 500, 11)}},
		{Target: "pruned", Level: level, Round: 1, Wall: time.Second, Samples: []Sample{sample(100, 100, 1)}},
	}
	runs[0].Samples[0].Gaps = []time.Duration{time.Millisecond, 30 * time.Millisecond}
	runs[2].Samples[0].Gaps = []time.Duration{20 * time.Millisecond}
	rows := Rows(runs, []Target{{Name: "dense"}, {Name: "pruned"}}, Options{Levels: []Level{level}, MaxTTFT: 150 * time.Millisecond, MaxITL: 90 * time.Millisecond})
	dense, pruned := rows[0], rows[1]
	if dense.Requests != 3 || dense.OutputThroughput != 21/2. || dense.RequestThroughput != 1.5 || dense.Speedup != 1 {
		t.Errorf("got %+v", dense)
	}
	// ITL: (500-100)/4 = 100, (1000-200)/4 = 200, (500-100)/10 = 40 ms.
	if s := dense.ITL; s.Min != 40 || s.Max != 200 || math.Abs(s.Mean-340./3) > 1e-9 || s.Percentiles["p50"] != 100 || len(s.Percentiles) != 1 {
		t.Errorf("got %+v", s)
	}
	if s := dense.Gap; s.Count != 3 || s.Min != 1 || s.Max != 30 || s.Mean != 17 || s.Percentiles["p50"] != 20 {
		t.Errorf("gaps: got %+v", s)
	}
	if *dense.Goodput != 0.5 { // only the last one meets both limits, in 2 s
		t.Errorf("got %v", *dense.Goodput)
	}
	// Rounds: 5/0.5 = 10 against 10, and 1 against 11.
	if pruned.Errors != 1 || pruned.FirstError != "gone" || pruned.ITL.Count != 1 || math.Abs(pruned.Speedup-(1+1./11)/2) > 1e-9 {
		t.Errorf("got %+v", pruned)
	}
}

func TestLength(t *testing.T) {
	for _, text := range []string{"", "0", "-1", "x", "1:x", "1:-1", "NaN", "1e99", "1:NaN"} {
		if l, err := ParseLength(text); err == nil {
			t.Errorf("%q: got %v", text, l)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	l, err := ParseLength("10:4")
	if err != nil || l.String() != "10:4" {
		t.Fatal(l, err)
	}
	sum, n := 0, 4000
	for range n {
		x := l.draw(r)
		if x < 1 {
			t.Fatal(x)
		}
		sum += x
	}
	if mean := float64(sum) / float64(n); mean < 9.7 || mean > 10.4 {
		t.Errorf("want a mean of about 10, got %v", mean)
	}
}
