package latency

import (
	"math"
	"slices"
	"strconv"

	"github.com/montanaflynn/stats"
)

// Spread summarizes repeated measurements of one quantity.
type Spread struct {
	Median float64  `json:"median"`
	Mean   float64  `json:"mean"`
	SD     *float64 `json:"sd"` // of the sample (n-1); nil below two values
}

// Ratio is a speed-up with its 95 % bootstrap interval.
type Ratio struct {
	Median float64  `json:"median"` // median(dense)/median(model)
	Lo     *float64 `json:"lo"`     // nil below two rounds
	Hi     *float64 `json:"hi"`
}

// Resamples is the number of resamples for a bootstrap interval.
const Resamples = 10_000

// The statistics below are only called on samples that are not empty, the one
// condition under which the library reports an error.

func median(x []float64) float64 {
	m, _ := stats.Median(x)
	return m
}

func spread(x []float64) Spread {
	mean, _ := stats.Mean(x)
	s := Spread{Median: median(x), Mean: mean}
	if len(x) > 1 {
		sd, _ := stats.StandardDeviationSample(x)
		s.SD = &sd
	}
	return s
}

// percentiles gives those of 25, 75, 90, 95 and 99 that the sample allows: the
// p-th needs at least one value expected beyond it on its thin side, n >=
// 1/min(p, 1-p), so 4 values for the quartiles, 10 for p90, 20 for p95 and 100
// for p99. Between values they interpolate linearly (Hyndman and Fan, type 7).
func percentiles(x []float64) map[string]float64 {
	out := map[string]float64{}
	for _, p := range []float64{25, 75, 90, 95, 99} {
		if float64(len(x))*min(p, 100-p) < 100 {
			continue
		}
		v, _ := stats.Percentile(x, p)
		out["p"+strconv.FormatFloat(p, 'g', -1, 64)] = v
	}
	return out
}

// bootstrap is the 95 % percentile interval of median(dense)/median(model).
// Rounds are resampled as pairs, dense[i] together with model[i], since what
// disturbs a round disturbs both. sample fills a resample's indices.
func bootstrap(dense, model []float64, resamples int, sample func(index []int)) (lo, hi float64) {
	n := len(dense)
	index := make([]int, n)
	d, m := make([]float64, n), make([]float64, n)
	ratios := make([]float64, resamples)
	for r := range ratios {
		sample(index)
		for i, j := range index {
			d[i], m[i] = dense[j], model[j]
		}
		ratios[r] = sortedMedian(d) / sortedMedian(m)
	}
	lo, _ = stats.Percentile(ratios, 2.5)
	hi, _ = stats.Percentile(ratios, 97.5)
	return lo, hi
}

// sortedMedian is the median by sorting x in place: the bootstrap takes tens
// of thousands, and the library's copies each time.
func sortedMedian(x []float64) float64 {
	slices.Sort(x)
	n := len(x)
	if n%2 == 1 {
		return x[n/2]
	}
	return (x[n/2-1] + x[n/2]) / 2
}

// speedup compares rounds measured in seconds; entry i of both is one round.
func speedup(p Protocol, dense, model []float64) Ratio {
	s := Ratio{Median: median(dense) / median(model)}
	if len(dense) < 2 {
		return s
	}
	// The stream starts again for each model: all intervals of a report come
	// from the same resamples of rounds.
	r := p.rand(streamBootstrap)
	lo, hi := bootstrap(dense, model, Resamples, func(index []int) {
		for i := range index {
			index[i] = r.IntN(len(index))
		}
	})
	s.Lo, s.Hi = &lo, &hi
	return s
}

// finite is nil for what JSON cannot write and no reader can use.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
