package study

import (
	"math"

	"github.com/montanaflynn/stats"
)

// Pair compares two rows at one target, question by question.
type Pair struct {
	Target float64 `json:"target"`
	// LatencyTarget is that of both where they were to have a share of the latency.
	LatencyTarget float64 `json:"latency_target,omitempty"`
	Row           string  `json:"row"`
	Other         string  `json:"other"`
	Recovered     bool    `json:"recovered"`
	// Average is the difference of the average accuracies, over the first models; Stderr is
	// that over the questions, which both have answered.
	Average *float64 `json:"average,omitempty"`
	Stderr  *float64 `json:"stderr,omitempty"`
	PPL     *float64 `json:"ppl_ratio,omitempty"` // the row's perplexity over the other's
	KL      *float64 `json:"kl_ratio,omitempty"`  // the row's KL divergence over the other's
	Size    float64  `json:"size_ratio"`          // the row's parameters over the other's
}

// comparePairs compares the first row with every other one at the same target.
func (r *Result) comparePairs() {
	if len(r.Rows) < 2 {
		return
	}
	first := r.Rows[1].Row
	for i, a := range r.Rows {
		for _, b := range r.Rows {
			if i == 0 || a.Row != first || b.Row == first || b.goal() != a.goal() || a.goal() == (goal{}) {
				continue
			}
			for _, recovered := range []bool{false, true} {
				if p, ok := pair(a, b, recovered); ok {
					r.Pairs = append(r.Pairs, p)
				}
			}
		}
	}
}

func (e *Entry) goal() goal { return goal{e.Target, e.LatencyTarget} }

func pair(a, b Entry, recovered bool) (Pair, bool) {
	p := Pair{Target: a.Target, LatencyTarget: a.LatencyTarget, Row: a.Row, Other: b.Row, Recovered: recovered, Size: a.Params.Mean / b.Params.Mean}
	x, y := a.Before, b.Before
	qx, qy := a.Models[0].Before, b.Models[0].Before
	if recovered {
		x, y = a.After, b.After
		qx, qy = a.Models[0].After, b.Models[0].After
	}
	if x == nil || y == nil {
		return p, false
	}
	p.PPL, p.KL = ratio(x.PPL, y.PPL), ratio(x.KL, y.KL)
	if mean, stderr, ok := pairedDifference(qx.Answers, qy.Answers); ok {
		p.Average, p.Stderr = &mean, &stderr
	}
	return p, p.PPL != nil || p.Average != nil
}

// ratio is that of two means, nil where one is missing or there is nothing to divide by.
func ratio(a, b *Stat) *float64 {
	if a == nil || b == nil || b.Mean == 0 {
		return nil
	}
	r := a.Mean / b.Mean
	return &r
}

// pairedDifference is the difference of the averages over tasks, and its standard error over
// the questions.
func pairedDifference(a, b map[string]Answers) (mean, stderr float64, ok bool) {
	variance := 0.0
	for task, x := range a {
		y := b[task]
		if len(x.Norm) != len(y.Norm) || len(x.Norm) < 2 {
			return 0, 0, false
		}
		d := make([]float64, len(x.Norm))
		for i := range d {
			d[i] = float64(x.Norm[i]) - float64(y.Norm[i])
		}
		m, _ := stats.Mean(d)
		sd, _ := stats.StandardDeviationSample(d)
		mean += m / float64(len(a))
		variance += sd * sd / float64(len(d))
	}
	return mean, math.Sqrt(variance) / float64(max(len(a), 1)), len(a) > 0
}
