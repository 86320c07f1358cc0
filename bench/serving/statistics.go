package serving

import (
	"slices"
	"strconv"
	"time"

	"github.com/montanaflynn/stats"
)

// Summary describes the values of one metric.
type Summary struct {
	Unit        string             `json:"unit"`
	Count       int                `json:"count"`
	Mean        float64            `json:"mean"`
	SD          *float64           `json:"std"` // nil below two values
	Min         float64            `json:"min"`
	Max         float64            `json:"max"`
	Percentiles map[string]float64 `json:"percentiles"` // those that the count allows
}

// Row is one target at one level, over all rounds.
type Row struct {
	Target      string  `json:"target"`
	Level       string  `json:"level"`
	Concurrency int     `json:"concurrency,omitempty"`
	Rate        float64 `json:"rate,omitempty"`
	Requests    int     `json:"requests"`
	Errors      int     `json:"errors"`
	FirstError  string  `json:"first_error,omitempty"`
	WallSeconds float64 `json:"wall_s"` // of all rounds

	TTFT    Summary `json:"ttft"`
	ITL     Summary `json:"itl"`
	Latency Summary `json:"latency"`
	Gap     Summary `json:"gap"` // between parts with text, of all requests

	RequestThroughput float64   `json:"requests_per_s"`
	OutputThroughput  float64   `json:"output_tokens_per_s"`
	RoundThroughputs  []float64 `json:"round_output_tokens_per_s"`
	Goodput           *float64  `json:"goodput_per_s"` // requests that meet the limits; nil = no limits
	// Speedup is the median over the rounds of the output throughput over that of the
	// first target at the same level in the same round.
	Speedup float64 `json:"speedup"`
}

// Rows summarizes runs: for each level the targets, the first one first.
func Rows(runs []Run, targets []Target, o Options) []Row {
	var rows []Row
	for _, level := range o.Levels {
		var dense []float64
		for i, t := range targets {
			row := summarize(runs, t.Name, level, o)
			if i == 0 {
				dense = row.RoundThroughputs
			}
			var ratios []float64
			for j := range min(len(dense), len(row.RoundThroughputs)) {
				if dense[j] > 0 {
					ratios = append(ratios, row.RoundThroughputs[j]/dense[j])
				}
			}
			row.Speedup, _ = stats.Median(ratios)
			rows = append(rows, row)
		}
	}
	return rows
}

func summarize(runs []Run, target string, level Level, o Options) Row {
	row := Row{Target: target, Level: level.String(), Concurrency: level.Concurrency, Rate: level.Rate}
	var ttft, itl, latency, gaps []float64
	tokens, good := 0, 0
	var wall time.Duration
	for _, run := range runs {
		if run.Target != target || run.Level != level {
			continue
		}
		wall += run.Wall
		inRun := 0
		for _, s := range run.Samples {
			row.Requests++
			if s.Error != "" {
				if row.Errors++; row.FirstError == "" {
					row.FirstError = s.Error
				}
				continue
			}
			inRun += s.Out
			ttft, latency = append(ttft, ms(s.TTFT)), append(latency, ms(s.Latency))
			for _, gap := range s.Gaps {
				gaps = append(gaps, ms(gap))
			}
			if s.Out > 1 {
				itl = append(itl, ms(s.ITL()))
			}
			if (o.MaxTTFT == 0 || s.TTFT <= o.MaxTTFT) && (o.MaxITL == 0 || s.ITL() <= o.MaxITL) {
				good++
			}
		}
		tokens += inRun
		row.RoundThroughputs = append(row.RoundThroughputs, float64(inRun)/run.Wall.Seconds())
	}
	row.TTFT, row.ITL, row.Latency, row.Gap = summary(ttft), summary(itl), summary(latency), summary(gaps)
	if row.WallSeconds = wall.Seconds(); wall > 0 {
		row.RequestThroughput = float64(row.Requests-row.Errors) / wall.Seconds()
		row.OutputThroughput = float64(tokens) / wall.Seconds()
		if o.MaxTTFT > 0 || o.MaxITL > 0 {
			g := float64(good) / wall.Seconds()
			row.Goodput = &g
		}
	}
	return row
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// summary describes values in milliseconds. A percentile stands there if at least one value is
// expected beyond it.
func summary(x []float64) Summary {
	s := Summary{Unit: "ms", Count: len(x), Percentiles: map[string]float64{}}
	if len(x) == 0 {
		return s
	}
	s.Mean, _ = stats.Mean(x)
	s.Min, s.Max = slices.Min(x), slices.Max(x)
	if len(x) > 1 {
		sd, _ := stats.StandardDeviationSample(x)
		s.SD = &sd
	}
	for _, p := range []float64{50, 75, 90, 95, 99} {
		if float64(len(x))*(100-p) >= 100 || p == 50 {
			s.Percentiles["p"+strconv.FormatFloat(p, 'g', -1, 64)], _ = stats.Percentile(x, p)
		}
	}
	return s
}
