package train_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
	"mop/runtime/train"
)

// gradients is a golden case of testdata/gradients.py.
type gradients struct {
	Sequences     []train.Sequence
	Losses        []float64
	AdaptedLosses []float64 `json:"adapted_losses"`
	Rank          int
	Alpha         float64
	dir           string
	tensors       *checkpoint.TensorFile
}

func goldenGradients(t *testing.T) []*gradients {
	t.Helper()
	files, err := filepath.Glob("testdata/gradients/*/gradients.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("want at least 4 golden models, got %d, %v", len(files), err)
	}
	var out []*gradients
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		g := &gradients{dir: filepath.Dir(file)}
		if err := json.Unmarshal(text, g); err != nil {
			t.Fatal(err)
		}
		if g.tensors, err = checkpoint.OpenTensorFile(filepath.Join(g.dir, "gradients.safetensors")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.tensors.Close() })
		out = append(out, g)
	}
	return out
}

// trainer returns a trainer of the golden model.
func (g *gradients) trainer(t *testing.T, threads int, o train.Options) *train.Trainer {
	t.Helper()
	src, err := checkpoint.Open(g.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	dev, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	l, err := train.New(m, src, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(b device.Buffer, d device.Device) []float32 {
	out := make([]float32, b.Rows()*b.Cols())
	d.Read(out, b, 0, b.Rows())
	return out
}

// host is a CPU device. All CPU devices can read each other's buffers.
func host(t *testing.T) device.Device {
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// compareGradients compares a trainer's gradients with the golden ones of the same names.
func (g *gradients) compareGradients(t *testing.T, l *train.Trainer, prefix string) {
	t.Helper()
	worst := 0.0
	for _, p := range l.Params {
		shape := []int{p.Grad.Rows(), p.Grad.Cols()}
		if shape[0] == 1 && strings.HasSuffix(p.Name, "norm.weight") {
			shape = shape[1:]
		}
		want, err := g.tensors.Tensor(prefix+p.Name, shape...)
		if err != nil {
			t.Fatal(err)
		}
		w, got := checkpoint.Float32s(want), read(p.Grad, host(t))
		top := 0.0
		for _, x := range w {
			top = max(top, math.Abs(float64(x)))
		}
		for i := range w {
			d := math.Abs(float64(w[i]-got[i])) / (2e-5 * max(top, 1e-3))
			worst = max(worst, d)
			if !(d <= 1) {
				t.Errorf("%s: element %d: want %v, got %v, largest %v", p.Name, i, w[i], got[i], top)
				break
			}
		}
	}
	t.Logf("%d tensors, at most %.1f %% of the tolerance", len(l.Params), 100*worst)
}

// forwardBackward runs the golden sequences and compares their losses with want.
func (g *gradients) forwardBackward(t *testing.T, l *train.Trainer, want []float64) {
	t.Helper()
	nll, err := l.ForwardBackward(g.Sequences)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if math.Abs(nll[i]-want[i]) > 2e-6*want[i]*10 {
			t.Errorf("loss of sequence %d: want %v, got %v", i, want[i], nll[i])
		}
	}
}

// In full training the gradients of every parameter are PyTorch's.
func TestGradientsOfAllParameters(t *testing.T) {
	for i, g := range goldenGradients(t) {
		for _, recompute := range []bool{false, true} {
			t.Run(filepath.Base(g.dir), func(t *testing.T) {
				l := g.trainer(t, 1+i%3, train.Options{Full: true, Recompute: recompute})
				g.forwardBackward(t, l, g.Losses)
				g.compareGradients(t, l, "")
			})
		}
	}
}

// loadAdapters sets a trainer's adapters to the golden ones.
func (g *gradients) loadAdapters(t *testing.T, l *train.Trainer, dev device.Trainer) {
	for _, p := range l.Params {
		v, err := g.tensors.Tensor(p.Name, p.Value.Rows(), p.Value.Cols())
		if err != nil {
			t.Fatal(err)
		}
		dev.Write(p.Value, 0, checkpoint.Float32s(v))
	}
}

// The gradients of adapters on all seven projections are peft's.
func TestGradientsOfAdapters(t *testing.T) {
	for i, g := range goldenGradients(t) {
		if g.Rank == 0 {
			continue
		}
		for _, recompute := range []bool{false, true} {
			t.Run(filepath.Base(g.dir), func(t *testing.T) {
				l := g.trainer(t, 1+i%3, train.Options{Rank: g.Rank, Alpha: g.Alpha, Targets: checkpoint.Projections(), Recompute: recompute})
				g.loadAdapters(t, l, host(t).(device.Trainer))
				g.forwardBackward(t, l, g.AdaptedLosses)
				g.compareGradients(t, l, "grad.")
			})
		}
	}
}

// The gradients of one pass over several sequences are the sum of those of a pass over
// each, also with dropout. Recomputation changes no bit.
func TestGradientsOfPassesAddUp(t *testing.T) {
	g := goldenGradients(t)[2]
	gradients := func(recompute bool, batches ...[]train.Sequence) [][]float32 {
		l := g.trainer(t, 2, train.Options{Rank: 3, Alpha: 5, Dropout: 0.2, Targets: checkpoint.Projections(), Recompute: recompute})
		if len(g.Sequences) > 1 && g.Rank > 0 {
			g.loadAdapters(t, l, host(t).(device.Trainer))
		}
		for _, b := range batches {
			if _, err := l.ForwardBackward(b); err != nil {
				t.Fatal(err)
			}
		}
		var out [][]float32
		for _, p := range l.Params {
			out = append(out, read(p.Grad, host(t)))
		}
		return out
	}
	for i := range g.Sequences {
		g.Sequences[i].Stream = uint64(i)
	}
	together := gradients(false, g.Sequences)
	again := gradients(true, g.Sequences)
	var singles [][]train.Sequence
	for i := range g.Sequences {
		singles = append(singles, g.Sequences[i:i+1])
	}
	if len(singles) < 2 {
		t.Fatal("want a case of several sequences")
	}
	apart := gradients(false, singles...)
	for p := range together {
		if !slices.Equal(together[p], again[p]) {
			t.Fatalf("parameter %d: recomputation changes bits", p)
		}
		for i, x := range together[p] {
			if d := math.Abs(float64(x - apart[p][i])); d > 1e-4*max(1, math.Abs(float64(x))) {
				t.Fatalf("parameter %d, element %d: together %v, apart %v", p, i, x, apart[p][i])
			}
		}
	}
}
