package report

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
)

const compressionLabel = "Compression (% of parameters removed)"

// latencyPlot shows end-to-end latency against compression, beside what it
// would be if time fell as parameters do.
func latencyPlot(entries []Entry) (image, error) {
	series := lines(entries, func(e *Entry) *point {
		x := &point{y: e.E2E.Median, low: e.E2E.Median, high: e.E2E.Median}
		// Quartiles and not deviations: one run that something disturbed would
		// stretch the bar both ways.
		if low, ok := e.Percentiles.E2E["p25"]; ok {
			x.low = min(x.y, low)
		}
		if high, ok := e.Percentiles.E2E["p75"]; ok {
			x.high = max(x.y, high)
		}
		return x
	})
	p := newPlot("End-to-end latency (median and quartiles)", compressionLabel, "Latency (ms)")
	compressionAxis(p, entries)
	dense := entries[0].E2E.Median
	addIdeal(p, "ideal: time falls as parameters do", func(c float64) float64 { return dense * (1 - c) })
	if err := addLines(p, series); err != nil {
		return image{}, err
	}
	if err := addValues(p, series, number, true); err != nil {
		return image{}, err
	}
	_, high := span(series)
	p.Y.Min, p.Y.Max = 0, 1.15*high
	p.Legend.YOffs = 10
	return curve("latency", "End-to-end latency against compression", p)
}

// speedupPlot shows speed-up with its interval against compression, beside the
// ideal 1/(1-c).
func speedupPlot(entries []Entry) (image, error) {
	series := lines(entries, func(e *Entry) *point {
		x := &point{y: e.Speedup.Median, low: e.Speedup.Median, high: e.Speedup.Median}
		// The interval of a skewed bootstrap need not hold the median itself.
		if e.Speedup.Lo != nil && e.Speedup.Hi != nil {
			x.low, x.high = min(x.y, *e.Speedup.Lo), max(x.y, *e.Speedup.Hi)
		}
		return x
	})
	p := newPlot("Speed-up over the dense model (95 % interval)", compressionLabel, "Speed-up (dense time / time)")
	compressionAxis(p, entries)
	ideal := func(c float64) float64 { return 1 / (1 - c) }
	addIdeal(p, "ideal: 1 / (1 - compression)", ideal)
	if err := addLines(p, series); err != nil {
		return image{}, err
	}
	if err := addValues(p, series, fixed2, false); err != nil {
		return image{}, err
	}
	low, high := span(series)
	p.Y.Min = min(1, low)
	p.Y.Max = max(high, ideal(p.X.Max/100))
	p.Y.Min, p.Y.Max = p.Y.Min-0.08*(p.Y.Max-p.Y.Min), p.Y.Max+0.05*(p.Y.Max-p.Y.Min)
	p.Legend.Top, p.Legend.YOffs = true, -10
	return curve("speedup", "Speed-up against compression", p)
}

// perplexityPlot covers the entries that have a perplexity; ok is false where
// fewer than two do.
func perplexityPlot(entries []Entry) (img image, ok bool, err error) {
	value := func(ppl float64) float64 { return ppl }
	label, logarithmic := "Perplexity", spreads(entries)
	if logarithmic {
		value, label = math.Log10, "Perplexity (logarithmic)"
	}
	series := lines(entries, func(e *Entry) *point {
		if e.PPL == nil {
			return nil
		}
		y := value(*e.PPL)
		return &point{y: y, low: y, high: y}
	})
	longest := 0
	for _, l := range series {
		longest = max(longest, len(l.points))
	}
	if longest < 2 {
		return image{}, false, nil
	}
	p := newPlot("Perplexity of the pruned models", compressionLabel, label)
	compressionAxis(p, entries)
	if err := addLines(p, series); err != nil {
		return image{}, false, err
	}
	if err := addValues(p, series, func(y float64) string {
		if logarithmic {
			y = math.Pow(10, y)
		}
		return number(y)
	}, false); err != nil {
		return image{}, false, err
	}
	low, high := span(series)
	switch {
	case logarithmic:
		p.Y.Min, p.Y.Max = math.Floor(low), math.Ceil(high)
		p.Y.Tick.Marker = logTicks{}
	case high > low:
		p.Y.Min, p.Y.Max = max(0, low-0.15*(high-low)), high+0.25*(high-low)
	default:
		p.Y.Min, p.Y.Max = 0, 1.2*high
	}
	p.Legend.Top, p.Legend.YOffs = true, -10
	img, err = curve("perplexity", "Perplexity against compression", p)
	return img, err == nil, err
}

// spreads is whether the perplexities want a logarithmic axis: pruned without
// recovery, they may rise by powers of ten.
func spreads(entries []Entry) bool {
	low, high := math.Inf(1), 0.0
	for _, e := range entries {
		if e.PPL != nil {
			low, high = min(low, *e.PPL), max(high, *e.PPL)
		}
	}
	return high > 20*low
}

func curve(name, alt string, p *plot.Plot) (image, error) {
	return render(name, alt, plotWidth, plotHeight, func(c draw.Canvas) { p.Draw(c) })
}
