//go:build cudaemu && !cuda

package cuda

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/train"
)

// failing is the emulation with one call that fails.
type failing struct {
	*driver.Emulated
	calls, fails int // that so far, and the one that fails; 0 = none
	by           error
	what         string // the call that failed
}

func (f *failing) next(what string) error {
	if f.calls++; f.calls != f.fails {
		return nil
	}
	f.what = what
	return f.by
}

func (f *failing) Alloc(n int64) (pointer, error) {
	if err := f.next("Alloc"); err != nil {
		return 0, err
	}
	return f.Emulated.Alloc(n)
}

func (f *failing) Clear(p pointer, n int64) error {
	return errors.Join(f.next("Clear"), f.Emulated.Clear(p, n))
}

func (f *failing) Upload(p pointer, pitch int, src []byte, row int) error {
	if err := f.next("Upload"); err != nil {
		return err
	}
	return f.Emulated.Upload(p, pitch, src, row)
}

func (f *failing) Download(dst []byte, p pointer) error {
	if err := f.next("Download"); err != nil {
		return err
	}
	return f.Emulated.Download(dst, p)
}

func (f *failing) Launch(c driver.Call) error {
	if err := f.next("Launch"); err != nil {
		return err
	}
	return f.Emulated.Launch(c)
}

func (f *failing) Sync() error { return f.next("Sync") }

func (f *failing) Record(calls []driver.Call) (driver.Recording, error) {
	if err := f.next("Record"); err != nil {
		return nil, err
	}
	r, err := f.Emulated.Record(calls)
	return failingRecording{r, f}, err
}

type failingRecording struct {
	driver.Recording
	f *failing
}

func (r failingRecording) Run(p pointer, n int) (func([]byte) error, error) {
	if err := r.f.next("Run"); err != nil {
		return nil, err
	}
	take, err := r.Recording.Run(p, n)
	return func(dst []byte) error {
		if err := r.f.next("take"); err != nil {
			return err
		}
		return take(dst)
	}, err
}

// run runs some work and passes each result to out as soon as it is known.
type run func(d *Device, src checkpoint.Source, out func(v any)) error

// prompt loads a model and runs a pass over a few tokens.
func prompt(d *Device, src checkpoint.Source) (*model.Model, *kvcache.Cache, error) {
	m, err := model.Load(d, src)
	if err != nil {
		return nil, nil, err
	}
	c, err := kvcache.NewSequences(d, m.Config, 1, 12)
	if err != nil {
		return nil, nil, err
	}
	return m, c, m.Forward(model.Pass{Cache: c, Chunks: []model.Chunk{{Tokens: []int{1, 2, 3}}}})
}

var runs = map[string]run{
	"logits": func(d *Device, src checkpoint.Source, out func(any)) error {
		m, _, err := prompt(d, src)
		if err != nil {
			return err
		}
		if err := m.Logits([]int{0, 2}, func(_ int, z []float32) error { out(slices.Clone(z)); return nil }); err != nil {
			return err
		}
		if err := m.Residual(2, func(_ int, x []float32) error { out(slices.Clone(x)); return nil }); err != nil {
			return err
		}
		nll, err := m.NLL([]int{0, 1}, []int{2, 3})
		if err != nil {
			return err
		}
		out(nll)
		return nil
	},
	"generate": func(d *Device, src checkpoint.Source, out func(any)) error {
		m, err := model.Load(d, src)
		if err != nil {
			return err
		}
		c, err := kvcache.NewSequences(d, m.Config, 1, 12)
		if err != nil {
			return err
		}
		o := generate.Options{MaxTokens: 3, IgnoreEOS: true, SamplingParams: generate.SamplingParams{Temperature: 1, Seed: 3, RepetitionPenalty: 1.1}}
		return generate.Run(context.Background(), m, c, [][]int{{1, 2}}, o, func(_, tokens []int) []int { out(tokens[0]); return nil })
	},
	"train": func(d *Device, src checkpoint.Source, out func(any)) error {
		m, err := model.Load(d, src)
		if err != nil {
			return err
		}
		l, err := train.New(m, src, train.Options{Rank: 2, Alpha: 4, Targets: checkpoint.Projections()})
		if err != nil {
			return err
		}
		l.ClearGradients()
		nll, err := l.ForwardBackward([]train.Sequence{{Tokens: []int{1, 2, 3}, Labels: []int{-1, 3, 4}, Scale: 1}})
		if err != nil {
			return err
		}
		out(nll)
		norm, err := l.GradientNorm()
		if err != nil {
			return err
		}
		out(norm)
		if err := l.Step(device.AdamW{LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Clip: 1, Step: 1}); err != nil {
			return err
		}
		delta, err := l.Delta(0, checkpoint.WQ)
		if err != nil {
			return err
		}
		out(delta)
		return nil
	},
}

// shaped is what an error says of shapes.
var shaped = regexp.MustCompile(`\[\d+( \d+)?\]|\d+ bytes`)

// Each driver call of a run fails once. The error names the operation, its shapes and CUDA's
// error; the results before it are correct; and the error is kept. An error of memory says how
// much is left, and the device can be used again.
func TestEveryDriverCallFails(t *testing.T) {
	shape := config.LayerShape{Heads: 2, KVHeads: 1, HeadDim: 4, Intermediate: 5}
	c := &config.Config{VocabSize: 11, HiddenSize: 6, HeadDim: 4, RopeTheta: 1e4, NormEps: 1e-5, MaxPositions: 16, Layers: []config.LayerShape{shape}}
	src := checkpoint.Random(c, 1, checkpoint.BF16)
	for name, run := range runs {
		try := func(fails int, by error) (out []string, f *failing, d *Device, err error) {
			f = &failing{Emulated: driver.NewEmulated(1, 1<<28, ""), fails: fails, by: by}
			d = newDevice(f)
			err = run(d, src, func(v any) { out = append(out, fmt.Sprint(v)) })
			return out, f, d, err
		}
		want, f, d, err := try(0, nil)
		if err != nil || len(want) == 0 {
			t.Fatalf("%s: %v, %v", name, want, err)
		}
		calls := f.calls
		d.Close()
		step := 1
		if testing.Short() {
			step = 7
		}
		t.Logf("%s: %d calls", name, calls)
		for n := 1; n <= calls; n += step {
			got, f, d, err := try(n, errors.New("cuSomething: CUDA_ERROR_ILLEGAL_ADDRESS"))
			at := fmt.Sprintf("%s, call %d of %d, %s", name, n, calls, f.what)
			switch {
			case err == nil || !strings.Contains(err.Error(), "cuda: ") || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS") || !shaped.MatchString(err.Error()) || strings.Contains(err.Error(), "no operation"):
				t.Errorf("%s: want an operation, shapes and CUDA's error, got %v", at, err)
			case d.Sync() == nil || !strings.Contains(err.Error(), d.Sync().Error()):
				t.Errorf("%s: want it kept, got %v after %v", at, d.Sync(), err)
			case len(got) > len(want) || !slices.Equal(got, want[:len(got)]):
				t.Errorf("%s: want nothing wrong given out, got %v instead of %v", at, got, want)
			}
			if testing.Verbose() && n%11 == 1 {
				t.Log(at, err)
			}
			d.Close()

			got, f, d, err = try(n, fmt.Errorf("%w: cuSomething: CUDA_ERROR_OUT_OF_MEMORY", driver.ErrMemory))
			switch at := fmt.Sprintf("%s, no memory in call %d of %d, %s", name, n, calls, f.what); {
			case err == nil && f.what == "Alloc": // it was there at another try
				if !slices.Equal(got, want) {
					t.Errorf("%s: want %v, got %v", at, want, got)
				}
			case !errors.Is(err, device.ErrMemory) || !strings.Contains(err.Error(), " free of "):
				t.Errorf("%s: want %v and what there is, got %v", at, device.ErrMemory, err)
			case len(got) > len(want) || !slices.Equal(got, want[:len(got)]):
				t.Errorf("%s: want nothing wrong given out, got %v instead of %v", at, got, want)
			default:
				d.Sync() // which tells it where nobody has waited since
				got = nil
				if err := run(d, src, func(v any) { got = append(got, fmt.Sprint(v)) }); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: want %v afterwards, got %v, %v", at, want, got, err)
				}
			}
			d.Close()
		}
	}
}
