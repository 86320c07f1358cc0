package metric_test

import (
	"math"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/metric"
)

// The divergence is what its formula gives from the logits, in nats, the
// reference's distribution in front; the divergence from itself is zero.
func TestKLByFormula(t *testing.T) {
	d := host(t)
	ref, m := load(t, d, small(1)), load(t, d, small(2))
	windows := []dataset.Window{{Tokens: []int{1, 5, 9, 30, 12, 7}, FirstScored: 1}, {Tokens: []int{1, 39, 0, 4}, FirstScored: 1}}
	var kls []float64
	same := 0
	for _, w := range windows {
		p, q := logits(t, ref, w.Tokens), logits(t, m, w.Tokens)
		for i := range p {
			lp, lq := logSoftmax(p[i]), logSoftmax(q[i])
			kl := 0.0
			for id := range lp {
				kl += math.Exp(lp[id]) * (lp[id] - lq[id])
			}
			kls = append(kls, kl)
			if slices.Index(lp, slices.Max(lp)) == slices.Index(lq, slices.Max(lq)) {
				same++
			}
		}
	}
	got, err := metric.KL(t.Context(), ref, m, windows, nil)
	if err != nil {
		t.Fatal(err)
	}
	mean := 0.0
	for _, kl := range kls {
		mean += kl / float64(len(kls))
	}
	slices.Sort(kls)
	median := (kls[4] + kls[5]) / 2
	if got.Tokens != 10 || math.Abs(got.Mean-mean) > 1e-5*mean || math.Abs(got.Median-median) > 1e-5*median || got.SameArgmax != float64(same)/10 || mean < 0.01 {
		t.Errorf("want mean %v, median %v, %d of 10 the same; got %+v", mean, median, same, got)
	}
	if got.P99 < got.Median || got.P99 > kls[9]*(1+1e-5) {
		t.Errorf("99th percentile %v of %v", got.P99, kls)
	}
	self, err := metric.KL(t.Context(), ref, ref, windows, nil)
	if err != nil || math.Abs(self.Mean) > 1e-9 || self.SameArgmax != 1 {
		t.Errorf("from itself: %+v, %v", self, err)
	}
}

// A reference with another vocabulary is refused.
func TestKLOfTwoVocabularies(t *testing.T) {
	d := host(t)
	src := small(1)
	other := src.Config().Clone()
	other.VocabSize = 41
	windows := []dataset.Window{{Tokens: []int{1, 2}, FirstScored: 1}}
	if _, err := metric.KL(t.Context(), load(t, d, src), load(t, d, checkpoint.Random(other, 1, checkpoint.F32)), windows, nil); err == nil {
		t.Error("two vocabularies: want an error")
	}
}
