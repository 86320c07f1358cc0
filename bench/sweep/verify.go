package sweep

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"mop/bench/latency"
	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/open"
	"mop/runtime/predict"
	"mop/runtime/timing"
)

// Shapes are a model that is to be measured, with random weights.
type Shapes struct {
	Name   string
	Layers []config.LayerShape
}

// VerifyOptions of a verification.
type VerifyOptions struct {
	Workload predict.Workload
	DType    checkpoint.DType
	Place    open.ModelOptions
	Runs     int // undisturbed runs of each model
	Tries    int // most runs of each model
	Seed     uint64
	Progress progress.Func

	// For tests; nil = the machine's.
	Now       func() time.Time
	OtherLoad func() (others, steal time.Duration, ok bool)
}

// Verified compares a prediction with a measurement. Times are in milliseconds.
type Verified struct {
	Name      string  `json:"name"`
	Predicted float64 `json:"predicted_ms"`
	Measured  float64 `json:"measured_ms"` // median of the undisturbed runs
	Error     float64 `json:"error"`       // predicted / measured - 1
	Runs      int     `json:"runs"`        // that count
	Disturbed bool    `json:"disturbed"`   // there were too few undisturbed runs
}

// Verification is the result of measuring predicted models.
type Verification struct {
	Workload predict.Workload `json:"workload"`
	Models   []Verified       `json:"models"`
	Median   float64          `json:"median_error"` // of the absolute errors
	Worst    float64          `json:"worst_error"`
	// RepeatMedian and RepeatWorst are the machine's own error: how far single runs of the
	// base, one in each turn, are from their median.
	RepeatMedian float64 `json:"repeat_median"`
	RepeatWorst  float64 `json:"repeat_worst"`
	Disturbed    int     `json:"disturbed"` // models with too few undisturbed runs
}

// Verify measures models end to end and compares the times with those that the table
// predicts. All models take turns, the base first, because a machine may be slower for
// seconds without showing any load: a run that was over 5 % slower than the model's fastest
// one does not count, and the model has another turn.
func Verify(ctx context.Context, dev device.Device, t *predict.Table, base *config.Config, models []Shapes, o VerifyOptions) (*Verification, error) {
	p, err := t.Predictor(o.Workload)
	if err != nil {
		return nil, err
	}
	m, err := NewMeter(dev, base, o)
	if err != nil {
		return nil, err
	}
	all := append([]Shapes{{"base", base.Layers}}, models...)
	runs := make([]times, len(all))
	for round := range max(o.Tries, o.Runs) {
		settled := 0
		for i, s := range all {
			if i > 0 && len(runs[i].kept()) >= o.Runs {
				settled++
				continue
			}
			if err := m.turn(ctx, s.Layers, 1, &runs[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
		}
		o.Progress.Report(progress.Update{Phase: "verifying", Done: settled, Total: len(models), Detail: fmt.Sprintf("%d turns", round+1)})
		if settled == len(models) {
			break
		}
	}
	v := &Verification{Workload: o.Workload}
	var errors, repeats []float64
	for i, s := range models {
		one := runs[i+1].measured(o.Runs)
		x := Verified{Name: s.Name, Predicted: p.Latency(s.Layers), Measured: one.MS, Runs: one.Runs, Disturbed: one.Disturbed}
		x.Error = x.Predicted/x.Measured - 1
		v.Models = append(v.Models, x)
		if x.Disturbed {
			v.Disturbed++
		}
		errors = append(errors, math.Abs(x.Error))
	}
	v.Median, v.Worst = median(errors), slices.Max(errors)
	center := median(runs[0].total)
	for _, ms := range runs[0].total {
		repeats = append(repeats, math.Abs(ms/center-1))
	}
	v.RepeatMedian, v.RepeatWorst = median(repeats), slices.Max(repeats)
	return v, nil
}

func withLayers(c *config.Config, layers []config.LayerShape) *config.Config {
	d := c.Clone()
	d.Layers = layers
	return d
}

// Meter measures the latency of models of any shapes, with random weights, one at a time.
type Meter struct {
	dev     device.Device
	base    *config.Config
	weights *weights
	o       VerifyOptions
	load    loadMeter
}

// NewMeter prepares measurements of models up to the size of the base.
func NewMeter(dev device.Device, base *config.Config, o VerifyOptions) (*Meter, error) {
	bytes := modelBytes(base, o.DType)
	if err := open.CheckMemory(dev, "random weights", float64(bytes)); err != nil {
		return nil, err
	}
	return &Meter{dev: dev, base: base, weights: newWeights(o.Seed, o.DType, bytes), o: o, load: newLoadMeter(o.OtherLoad, o.Now)}, nil
}

// Measured is a measured latency.
type Measured struct {
	MS        float64 // median of the runs that count
	Runs      int
	Disturbed bool // fewer undisturbed runs than wanted
}

// Measure times a model with these layers until there are enough undisturbed runs.
func (m *Meter) Measure(ctx context.Context, layers []config.LayerShape) (Measured, error) {
	var x times
	if err := m.turn(ctx, layers, max(m.o.Tries, m.o.Runs), &x); err != nil {
		return Measured{}, err
	}
	return x.measured(m.o.Runs), nil
}

// turn times a model at most so many times more, and fewer when it has enough undisturbed
// runs.
func (m *Meter) turn(ctx context.Context, layers []config.LayerShape, tries int, x *times) error {
	c, w := withLayers(m.base, layers), m.o.Workload
	src, err := m.weights.source(c)
	if err != nil {
		return err
	}
	loaded, err := open.PlaceWeights(m.dev, src, m.o.Place)
	if err != nil {
		return err
	}
	defer loaded.Close()
	cache, err := open.Cache(m.dev, c, w.Batch, w.In+w.Out)
	if err != nil {
		return err
	}
	defer cache.Close()
	prompts, err := latency.Protocol{In: w.In, Out: w.Out, Batch: w.Batch, Runs: 1}.Prompts(c.VocabSize, c.EOS)
	if err != nil {
		return err
	}
	generate := timing.Generator(loaded, cache)
	if _, err := timing.Measure(ctx, generate, prompts, min(w.Out, 2), m.o.Now); err != nil { // grows buffers
		return err
	}
	for range tries {
		runtime.GC()
		var parts []float64
		taken, err := m.load.during(func() error {
			for elapsed := time.Duration(0); elapsed < leastRun; {
				one, err := timing.Measure(ctx, generate, prompts, w.Out, m.o.Now)
				if err != nil {
					return err
				}
				parts, elapsed = append(parts, m.part(one)), elapsed+one.Total()
			}
			return nil
		})
		if err != nil {
			return err
		}
		x.total, x.load = append(x.total, median(parts)), append(x.load, taken)
		if len(x.kept()) >= m.o.Runs {
			return nil
		}
	}
	return nil
}

// times are the runs of one model: their milliseconds, and the load of others meanwhile.
type times struct{ total, load []float64 }

// kept are the times of undisturbed runs.
func (x *times) kept() (out []float64) {
	for i, ok := range usable(x.total, x.load) {
		if ok {
			out = append(out, x.total[i])
		}
	}
	return out
}

// measured reduces the runs. If too few were undisturbed, the fastest ones are the least
// disturbed.
func (x *times) measured(runs int) Measured {
	good := x.kept()
	if len(good) >= runs {
		return Measured{MS: median(good), Runs: len(good)}
	}
	good = slices.Sorted(slices.Values(x.total))[:min(runs, len(x.total))]
	return Measured{MS: median(good), Runs: len(good), Disturbed: true}
}

// leastRun is the least time of what counts as one run: the system counts the time of other
// processes in steps of 10 ms, and shorter runs are repeated until there are many of them.
const leastRun = 200 * time.Millisecond

// part is the time of the workload's part of a run, in milliseconds.
func (m *Meter) part(r timing.Run) float64 {
	switch m.o.Workload.Part {
	case predict.PrefillOnly:
		return ms(r.TTFT())
	case predict.DecodeStep:
		return ms(r.Total()-r.TTFT()) / float64(len(r.Tokens)-1)
	}
	return ms(r.Total())
}

// Write prints a table for people.
func (v *Verification) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "plan\tpredicted ms\tmeasured ms\terror\t")
	for _, m := range v.Models {
		note := ""
		if m.Disturbed {
			note = " disturbed"
		}
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%+.1f %%\t%s\n", m.Name, m.Predicted, m.Measured, 100*m.Error, note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d in, %d out, batch %d: error of the prediction: median %.1f %%, worst %.1f %%; the machine's own error on the base: median %.1f %%, worst %.1f %%\n",
		v.Workload.In, v.Workload.Out, v.Workload.Batch, 100*v.Median, 100*v.Worst, 100*v.RepeatMedian, 100*v.RepeatWorst)
	if err == nil && v.Disturbed > 0 {
		_, err = fmt.Fprintf(w, "%d of %d models were disturbed by other load in too many runs: these errors are not those of the prediction\n", v.Disturbed, len(v.Models))
	}
	return err
}
