//go:build cuda || cudaemu

package cuda

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/device/tolerance"
	"mop/runtime/model"
	"mop/runtime/train"
)

var _ device.Trainer = (*Device)(nil)

// newTrainer loads a checkpoint for training.
func newTrainer(t *testing.T, dev device.Device, src checkpoint.Source, o train.Options) *train.Trainer {
	t.Helper()
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

func norm(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// relativeError is |a-b| / |a|, 0 for two that are zero.
func relativeError(a, b []float32) float64 {
	d := make([]float32, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	if n := norm(d); n != 0 {
		return n / norm(a)
	}
	return 0
}

// Gradients of adapters and of all parameters are PyTorch's, for MHA, GQA, tied and
// pruned shapes (runtime/train/testdata/gradients.py); computing the activations again
// changes no bit.
func TestTrainGradients(t *testing.T) {
	files, err := filepath.Glob("../../train/testdata/gradients/*/gradients.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("want at least 4 golden models, got %d, %v", len(files), err)
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var golden struct {
			Sequences     []train.Sequence
			Losses        []float64
			AdaptedLosses []float64 `json:"adapted_losses"`
			Rank          int
			Alpha         float64
		}
		if err := json.Unmarshal(text, &golden); err != nil {
			t.Fatal(err)
		}
		tensors, err := checkpoint.OpenTensorFile(filepath.Join(dir, "gradients.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer tensors.Close()
		src, err := checkpoint.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		for _, full := range []bool{false, true} {
			if !full && golden.Rank == 0 {
				continue
			}
			name, prefix, losses := filepath.Base(dir)+"/adapters", "grad.", golden.AdaptedLosses
			o := train.Options{Rank: golden.Rank, Alpha: golden.Alpha, Targets: checkpoint.Projections()}
			if full {
				name, prefix, losses = filepath.Base(dir)+"/full", "", golden.Losses
				o = train.Options{Full: true}
			}
			t.Run(name, func(t *testing.T) {
				var first [][]float32
				for _, o.Recompute = range []bool{false, true} {
					d := open(t, orders[0])
					l := newTrainer(t, d, src, o)
					for _, p := range l.Params {
						if !full {
							v, err := tensors.Tensor(p.Name, p.Value.Rows(), p.Value.Cols())
							if err != nil {
								t.Fatal(err)
							}
							d.Write(p.Value, 0, checkpoint.Float32s(v))
						}
					}
					nll, err := l.ForwardBackward(golden.Sequences)
					if err != nil {
						t.Fatal(err)
					}
					tol := tolerance.Gradient(full, len(l.Config().Layers))
					for i, want := range losses {
						if d := math.Abs(nll[i]-want) / want; d > tol/4 {
							t.Errorf("loss of sequence %d: want %v, got %v: %.2g apart, want %.2g", i, want, nll[i], d, tol/4)
						}
					}
					worst, at := 0.0, ""
					var errs []float64
					var all [][]float32
					for _, p := range l.Params {
						shape := []int{p.Grad.Rows(), p.Grad.Cols()}
						if shape[0] == 1 && strings.HasSuffix(p.Name, "norm.weight") {
							shape = shape[1:]
						}
						want, err := tensors.Tensor(prefix+p.Name, shape...)
						if err != nil {
							t.Fatal(err)
						}
						got := read(d, p.Grad)
						e := relativeError(checkpoint.Float32s(want), got)
						if errs = append(errs, e); !(e <= worst) {
							worst, at = e, p.Name
						}
						all = append(all, got)
					}
					slices.Sort(errs)
					t.Logf("%d tensors, their gradients %.2g apart, at most %.2g, %.0f %% of the tolerance: %s", len(errs), errs[len(errs)/2], worst, 100*worst/tol, at)
					if !(worst <= tol) {
						t.Errorf("%s: gradient is %.2g apart, want at most %.2g", at, worst, tol)
					}
					if first == nil {
						first = all
					}
					for i := range all {
						if !slices.Equal(first[i], all[i]) {
							t.Fatalf("%s: activations computed again change bits", l.Params[i].Name)
						}
					}
				}
			})
		}
	}
}

// Training the demo's model and stories260K goes as it does on the host: the same
// loss at every step, the same norm of the gradient, and adapters that have moved the
// same way. The masks of dropout are the same, the order of threads is not.
func TestTrainSteps(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps int
		open  func(t *testing.T) checkpoint.Source
	}{
		{"demo", 4, func(t *testing.T) checkpoint.Source {
			src, err := checkpoint.Open("../../../bench/demo/model")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { src.Close() })
			return src
		}},
		{"stories260K", 8, func(t *testing.T) checkpoint.Source {
			src, err := llama2c.Open(testutil.DataPath(t, "stories260K/stories260K.bin"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { src.Close() })
			return src
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := stored{c.open(t), checkpoint.BF16}
			host, err := cpu.New(1)
			if err != nil {
				t.Fatal(err)
			}
			defer host.Close()
			d := open(t, orders[len(orders)-1])
			o := train.Options{Rank: 4, Alpha: 8, Dropout: 0.1, Targets: checkpoint.Projections(), Seed: 3}
			a, b := newTrainer(t, host, src, o), newTrainer(t, d, src, o)
			var start [][]float32
			for _, p := range b.Params {
				start = append(start, read(d, p.Value))
			}
			steps, vocab := c.steps, src.Config().VocabSize
			if testing.Short() {
				steps = 2
			}
			for step := range steps {
				// Sequences that repeat, so that there is something to learn.
				var batch []train.Sequence
				for s, n := range []int{23, 9} {
					q := train.Sequence{Tokens: make([]int, n), Labels: make([]int, n), Scale: 1 / float32(2*n-4), Stream: uint64(step*2 + s)}
					for i := range q.Tokens {
						q.Tokens[i] = (i*i*7 + s) % min(vocab, 61)
					}
					for i := range q.Labels {
						if q.Labels[i] = -1; i > 0 && i+1 < n {
							q.Labels[i] = q.Tokens[i+1]
						}
					}
					batch = append(batch, q)
				}
				type outcome struct{ loss, norm float64 }
				learn := func(l *train.Trainer) (r outcome) {
					l.ClearGradients()
					nll, err := l.ForwardBackward(batch)
					if err != nil {
						t.Fatal(err)
					}
					for i, q := range batch {
						r.loss += nll[i] * float64(q.Scale)
					}
					if r.norm, err = l.GradientNorm(); err != nil {
						t.Fatal(err)
					}
					if err := l.Step(device.AdamW{LearningRate: 2e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Clip: min(1, 1/r.norm), Step: step + 1}); err != nil {
						t.Fatal(err)
					}
					return r
				}
				want, got := learn(a), learn(b)
				t.Logf("step %d: loss %.5f and %.5f, gradient %.4f and %.4f", step+1, want.loss, got.loss, want.norm, got.norm)
				tol := tolerance.Gradient(false, len(src.Config().Layers))
				if math.Abs(want.loss-got.loss) > tol/4*want.loss {
					t.Errorf("step %d: loss: want %v, got %v", step+1, want.loss, got.loss)
				}
				if math.Abs(want.norm-got.norm) > tol*want.norm {
					t.Errorf("step %d: gradient: want %v, got %v", step+1, want.norm, got.norm)
				}
			}
			// AdamW moves by the sign of what is near zero: the ways agree as a whole.
			var way, off float64
			for i, p := range b.Params {
				want := make([]float32, p.Value.Rows()*p.Value.Cols())
				host.Read(want, a.Params[i].Value, 0, p.Value.Rows())
				for j, v := range read(d, p.Value) {
					way += math.Pow(float64(want[j]-start[i][j]), 2)
					off += math.Pow(float64(want[j]-v), 2)
				}
			}
			t.Logf("adapters have moved %.3g, and are %.3g apart", math.Sqrt(way), math.Sqrt(off))
			if !(way > 0) || !(off < 0.15*0.15*way) {
				t.Errorf("adapters: want them to move alike, they moved %.3g and are %.3g apart", math.Sqrt(way), math.Sqrt(off))
			}
		})
	}
}
