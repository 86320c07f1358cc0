package sweep

import (
	"context"
	"math"
	"runtime"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"mop/bench/latency"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/open"
	"mop/runtime/predict"
	"mop/runtime/timing"
)

// Meter measures the latency of models of any shapes, with random weights, one at a time.
// Each is measured beside the base: their passes take turns (timing.MeasureInTurns), so
// that what slows the machine down slows both, and the share of the base's time repeats
// much better than the time.
type Meter struct {
	dev     device.Device
	base    *config.Config
	weights *weights
	o       VerifyOptions
	load    loadMeter
	beside  *placed // the base
}

// placed is a model that is ready to generate.
type placed struct {
	model    *model.Model
	cache    *kvcache.Cache
	generate timing.Generate
}

func (p *placed) close() {
	p.cache.Close()
	p.model.Close()
}

// place loads a model for so many sequences of so many positions.
func place(dev device.Device, w *weights, c *config.Config, o open.ModelOptions, sequences, capacity int) (*placed, error) {
	src, err := w.source(c)
	if err != nil {
		return nil, err
	}
	m, err := open.PlaceWeights(dev, src, o)
	if err != nil {
		return nil, err
	}
	cache, err := open.Cache(dev, c, sequences, capacity)
	if err != nil {
		m.Close()
		return nil, err
	}
	return &placed{m, cache, timing.Generator(m, cache)}, nil
}

// NewMeter prepares measurements of models up to the size of the base.
func NewMeter(dev device.Device, base *config.Config, o VerifyOptions) (*Meter, error) {
	own, beside, err := pairOfWeights(dev, o.Seed, o.DType, modelBytes(base, o.DType), modelBytes(base, o.DType))
	if err != nil {
		return nil, err
	}
	m := &Meter{dev: dev, base: base, weights: own, o: o, load: newLoadMeter(o.OtherLoad, o.Now)}
	if m.beside, err = place(dev, beside, base, o.Place, o.Workload.Batch, o.Workload.In+o.Workload.Out); err != nil {
		return nil, err
	}
	return m, nil
}

// Close frees the base.
func (m *Meter) Close() { m.beside.close() }

// Measured is a measured latency.
type Measured struct {
	MS        float64 // Share of the base's milliseconds
	Share     float64 // median of the runs that count
	Interval  float64 // half the width of the share's 95 % interval, relative
	Runs      int
	Disturbed bool // fewer undisturbed runs than wanted
}

// Base measures the latency of the base alone, in milliseconds.
func (m *Meter) Base(ctx context.Context) (float64, error) {
	var x pairs
	if err := m.turn(ctx, m.base.Layers, max(1, m.o.Runs), &x); err != nil {
		return 0, err
	}
	return median(x.base), nil
}

// Measure times a model with these layers beside the base until its share of the base's
// time is known to the wanted precision, or the tries are used up. dense is the base's time in
// milliseconds.
func (m *Meter) Measure(ctx context.Context, layers []config.LayerShape, dense float64) (Measured, error) {
	var x pairs
	if err := m.turn(ctx, layers, max(m.o.Tries, m.o.Runs), &x); err != nil {
		return Measured{}, err
	}
	return x.measured(m.o.Runs, dense), nil
}

// turn times a model beside the base at most so many times more, and fewer when that is
// enough.
func (m *Meter) turn(ctx context.Context, layers []config.LayerShape, tries int, x *pairs) error {
	c, w := withLayers(m.base, layers), m.o.Workload
	own, err := place(m.dev, m.weights, c, m.o.Place, w.Batch, w.In+w.Out)
	if err != nil {
		return err
	}
	defer own.close()
	prompts, err := latency.Protocol{In: w.In, Out: w.Out, Batch: w.Batch, Runs: 1}.Prompts(c.VocabSize, c.EOS)
	if err != nil {
		return err
	}
	// Every second run begins with the base.
	together := func(n, out int) (base, other timing.Run, err error) {
		order := []timing.Generate{m.beside.generate, own.generate}
		if n%2 == 1 {
			slices.Reverse(order)
		}
		runs, err := timing.MeasureInTurns(ctx, order, prompts, out, m.o.Now)
		if err != nil {
			return base, other, err
		}
		return runs[n%2], runs[1-n%2], nil
	}
	if _, _, err := together(0, min(w.Out, 2)); err != nil { // grows buffers
		return err
	}
	for range tries {
		runtime.GC()
		base, other, runs, elapsed := 0.0, 0.0, 0.0, time.Duration(0)
		taken, err := m.load.during(func() error {
			for n := len(x.share); elapsed < leastRun; n++ {
				b, o, err := together(n, w.Out)
				if err != nil {
					return err
				}
				base, other, runs, elapsed = base+m.part(b), other+m.part(o), runs+1, elapsed+b.Total()
			}
			return nil
		})
		if err != nil {
			return err
		}
		x.base, x.share, x.load = append(x.base, base/runs), append(x.share, other/base), append(x.load, taken)
		if x.settled(m.o.Runs, m.o.Precision) {
			return nil
		}
	}
	return nil
}

// pairs are the runs of one model beside the base.
type pairs struct {
	base  []float64 // milliseconds of the base
	share []float64 // of the base's time
	load  []float64 // share of the cores that others took meanwhile
}

// kept are the shares of runs during which nothing else used the machine.
func (x *pairs) kept() (out []float64) {
	for i, share := range x.share {
		if x.load[i] <= latency.Busy {
			out = append(out, share)
		}
	}
	return out
}

// settled reports whether there are enough undisturbed runs: so many at least, and so many
// that half the width of the share's 95 % interval is at most precision.
func (x *pairs) settled(runs int, precision float64) bool {
	good := x.kept()
	return len(good) >= max(runs, 3) && interval(good) <= precision
}

// measured reduces the runs. If too few were undisturbed, all of them count.
func (x *pairs) measured(runs int, dense float64) Measured {
	good, disturbed := x.kept(), false
	if len(good) < runs {
		good, disturbed = x.share, true
	}
	share := median(good)
	return Measured{MS: share * dense, Share: share, Interval: interval(good), Runs: len(good), Disturbed: disturbed}
}

// interval is half the width of the 95 % interval of the mean by Student's t, relative to
// the mean; 1 for a single value.
func interval(x []float64) float64 {
	if len(x) < 2 {
		return 1
	}
	mean, sd := stat.MeanStdDev(x, nil)
	n := float64(len(x))
	return distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * sd / math.Sqrt(n) / mean
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

func withLayers(c *config.Config, layers []config.LayerShape) *config.Config {
	d := c.Clone()
	d.Layers = layers
	return d
}
