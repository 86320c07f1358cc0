package refit

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
)

// second returns X^T X.   x [n][cols]
func second(x [][]float64) []float64 {
	cols := len(x[0])
	out := make([]float64, cols*cols)
	for _, row := range x {
		for i := range row {
			for j := range row {
				out[i*cols+j] += float64(row[i] * row[j])
			}
		}
	}
	return out
}

// The change of the weights and the errors are those of numpy's least squares.
func TestSolveGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/refit.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Rows          int
			Keep          []int
			Damping       float64
			W, X, Held    [][]float64
			Delta         [][]float64
			Before, After float64
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 4 {
		t.Fatalf("want 4 cases, got %d", len(golden.Cases))
	}
	for i, g := range golden.Cases {
		var w []float32
		for _, row := range g.W {
			for _, v := range row {
				w = append(w, float32(v))
			}
		}
		s := newSystem(w, g.Rows, g.Keep)
		delta, err := s.delta(second(g.X), g.Damping)
		if err != nil {
			t.Fatal(err)
		}
		for r := range g.Rows {
			for j := range g.Keep {
				if want, got := g.Delta[r][j], delta.At(r, j); math.Abs(want-got) > 1e-6*(1+math.Abs(want)) {
					t.Errorf("case %d: [%d %d]: want %v, got %v", i, r, j, want, got)
				}
			}
		}
		held := second(g.Held)
		base := s.energy(held)
		for what, pair := range map[string][2]float64{"before": {g.Before, s.missing(nil, held) / base}, "after": {g.After, s.missing(delta, held) / base}} {
			if math.Abs(pair[0]-pair[1]) > 1e-6 {
				t.Errorf("case %d: error %s: want %v, got %v", i, what, pair[0], pair[1])
			}
		}
		// The choice is never worse than leaving the weights alone.
		got, fit, err := Solve(w, g.Rows, g.Keep, &Moments{Fit: second(g.X), Held: held})
		if err != nil || len(got) != g.Rows*len(g.Keep) || fit.After > fit.Before {
			t.Errorf("case %d: got %d weights, %+v, %v", i, len(got), fit, err)
		}
	}
}

// Columns that repeat kept ones are replaced by them; columns of noise are left alone.
func TestSolveChoosesDamping(t *testing.T) {
	x := [][]float64{{1, 1}, {-2, -2}, {3, 3}}
	w := []float32{1, 2}
	got, fit, err := Solve(w, 1, []int{0}, &Moments{Fit: second(x), Held: second(x)})
	if err != nil || math.Abs(float64(got[0])-3) > 0.01 || fit.Damping == None || fit.After > 1e-4 {
		t.Errorf("got %v, %+v, %v", got, fit, err)
	}
	noise := [][]float64{{1, -1}, {-2, 2}}
	got, fit, err = Solve(w, 1, []int{0}, &Moments{Fit: second(noise), Held: second(x)})
	if err != nil || got[0] != 1 || fit.Damping != None || fit.After != fit.Before {
		t.Errorf("held-out text that contradicts: got %v, %+v, %v", got, fit, err)
	}
}

// noMoments is a device without SecondMoments, as a GPU is.
type noMoments struct{ device.Device }

// The moments are those of the activations that an observer sees, on the device and on the
// host, and every fifth prompt is held out.
func TestMeasure(t *testing.T) {
	c := &config.Config{VocabSize: 40, HiddenSize: 16, HeadDim: 4, Layers: []config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 4, Intermediate: 9}, {HeadDim: 4, Intermediate: 5}},
		RopeTheta: 10000, NormEps: 1e-5, MaxPositions: 32, BOS: 1, EOS: []int{2}, DType: "float32", Extra: map[string]any{"initializer_range": 0.6}}
	var prompts [][]int
	for i := range 6 {
		prompts = append(prompts, []int{1, 3 + i, 7, 2 * i}[:2+i%3])
	}
	measure := func(wrap func(device.Device) device.Device) map[int]map[Matrix]*Moments {
		dev, err := cpu.New(2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dev.Close() })
		m, err := model.Load(wrap(dev), checkpoint.Random(c, 3, checkpoint.F32))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Measure(t.Context(), m, prompts, Wanted{0: {Output: true, Down: true}, 1: {Down: true}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	a := measure(func(d device.Device) device.Device { return d })
	b := measure(func(d device.Device) device.Device { return noMoments{d} })
	for l, which := range map[int][]Matrix{0: {Output, Down}, 1: {Down}} {
		for _, x := range which {
			p, q := a[l][x], b[l][x]
			if p == nil || q == nil || !slices.Equal(p.Fit, q.Fit) || !slices.Equal(p.Held, q.Held) {
				t.Errorf("layer %d: %s: device and host differ", l, x)
				continue
			}
			if p.FitTokens != 2+3+4+2+4 || p.HeldTokens != 3 {
				t.Errorf("layer %d: %s: want 15 and 3 tokens, got %d and %d", l, x, p.FitTokens, p.HeldTokens)
			}
			n := int(math.Sqrt(float64(len(p.Fit))))
			for i := range n {
				for j := range i {
					if math.Abs(p.Fit[i*n+j]-p.Fit[j*n+i]) > 1e-6 || p.Fit[i*n+i] < 0 {
						t.Fatalf("layer %d: %s: not symmetric", l, x)
					}
				}
			}
		}
	}
	if len(a) != 2 || a[1][Output] != nil {
		t.Errorf("want only what was asked for")
	}
}
