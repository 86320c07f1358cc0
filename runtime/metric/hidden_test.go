package metric_test

import (
	"math"
	"slices"
	"testing"

	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// The cosine of the hidden states is what its formula gives from them.
func TestCompareHiddenByFormula(t *testing.T) {
	d := host(t)
	reference, m := load(t, d, small(1)), load(t, d, small(2))
	windows := []dataset.Window{{Tokens: []int{1, 5, 9, 30, 12, 7, 3, 3, 8, 21, 0, 4, 17, 11, 2, 6, 19, 35, 36, 1}, FirstScored: 1}, {Tokens: []int{1, 39}, FirstScored: 1}}
	var want []float64
	for _, w := range windows {
		p, q := hidden(t, reference, w), hidden(t, m, w)
		for i := range p {
			dot, pp, qq := 0.0, 0.0, 0.0
			for j := range p[i] {
				x, y := float64(p[i][j]), float64(q[i][j])
				dot, pp, qq = dot+x*y, pp+x*x, qq+y*y
			}
			want = append(want, dot/math.Sqrt(pp)/math.Sqrt(qq))
		}
	}
	live, err := metric.NewLiveReference(reference, windows)
	if err != nil {
		t.Fatal(err)
	}
	var got []float64
	if err := metric.CompareHidden(t.Context(), live, m, windows, nil, func(cosine float64) { got = append(got, cosine) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) || len(got) != 22 {
		t.Fatalf("want 22 positions, got %d and %d", len(want), len(got))
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 || math.Abs(want[i]) > 0.999 {
			t.Errorf("position %d: want %v, got %v", i, want[i], got[i])
		}
	}
}

// hidden returns the last hidden states [T][D] of a window.
func hidden(t *testing.T, m *model.Model, w dataset.Window) [][]float32 {
	t.Helper()
	logits(t, m, w.Tokens)
	rows := make([]int, len(w.Tokens))
	for i := range rows {
		rows[i] = i
	}
	var out [][]float32
	if err := m.Hidden(rows, func(_ int, h []float32) error {
		out = append(out, slices.Clone(h))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}
