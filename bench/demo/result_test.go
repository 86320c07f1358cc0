package demo

import (
	"strings"
	"testing"

	"mop/bench/latency"
	"mop/bench/report"
)

func f(x float64) *float64 { return &x }

// Quality decides whether a demo passes.
func TestCheckQuality(t *testing.T) {
	for _, c := range []struct {
		dense, smaller, smallest, trained float64
		want                              string
	}{
		{2, 3, 2.9, 2.1, "perplexity does not rise from MoP 20 % (3.000) to MoP 40 % (2.900)"},
		{2, 2, 4, 2.1, "perplexity does not rise from dense"},
		{2, 3, 4, 3.1, "training gives back less than half"},
		{2, 3, 4, 2.9, "no such directory"}, // quality is right, and no demo wrote files
	} {
		r := &Result{out: t.TempDir(), recipe: carriedModel(), Quality: []report.Quality{{Model: "dense", PPL: c.dense}, {Model: label(0.2), PPL: c.smaller}, {Model: label(0.4), PPL: c.smallest, PPLTrained: &c.trained}}}
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: want %q, got %v", c, c.want, err)
		}
	}
}

// Times are called trustworthy only on an idle machine and with narrow intervals.
func TestTimingDoubts(t *testing.T) {
	entries := func(load, hi float64) []report.Entry {
		return report.Entries([]latency.Row{
			{Model: "dense", OtherLoad: f(load), StealLoad: f(0), Speedup: latency.Ratio{Median: 1, Lo: f(1), Hi: f(1)}},
			{Model: "small", OtherLoad: f(0), StealLoad: f(0), Speedup: latency.Ratio{Median: 1.5, Lo: f(1.45), Hi: &hi}},
		})
	}
	for _, c := range []struct {
		load, hi float64
		want     string
	}{
		{0.01, 1.55, ""},
		{0.4, 1.55, "other processes took 40 % of the cores and the hypervisor 0 %"},
		{0.01, 1.75, "the interval of the speed-up of small is 20 % wide"},
	} {
		if got := strings.Join(timingDoubts(entries(c.load, c.hi)), "; "); got != c.want {
			t.Errorf("load %v, interval to %v: want %q, got %q", c.load, c.hi, c.want, got)
		}
	}
}
