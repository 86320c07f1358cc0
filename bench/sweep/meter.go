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
	dev    device.Device
	caches device.Device // dev, for making KV caches of the wanted type
	base   *config.Config
	own    *weights // of the model under test
	beside *weights // of the base
	o      VerifyOptions
	load   loadMeter
}

// placed is a model that is ready to generate.
type placed struct {
	model *model.Model
	cache *kvcache.Cache
	turns timing.InTurns
}

// with is the model with a cache for a setting, which the caller closes.
func (p *placed) with(caches device.Device, x setting) (*placed, error) {
	cache, err := open.Cache(caches, p.model.Config, x.Batch, x.In+x.Out)
	if err != nil {
		return nil, err
	}
	q := &placed{p.model, cache, p.turns}
	q.turns.Generate = timing.Generator(p.model, cache)
	return q, nil
}

// divide divides the next runs into turns, after one whose times are given.
func (p *placed) divide(r timing.Run) {
	if p.turns.Divided != nil {
		p.turns.Divided.Divide(r.TTFT())
	}
}

func (p *placed) close() {
	p.cache.Close()
	p.model.Close()
}

// place loads a model on a device, with a KV cache that caches makes for so many sequences of so many positions.
func place(dev, caches device.Device, w *weights, c *config.Config, o open.ModelOptions, sequences, capacity int) (*placed, error) {
	src, err := w.source(c)
	if err != nil {
		return nil, err
	}
	var divided *timing.Divided
	if dev.Capabilities().HostMemory { // others queue operations
		divided = timing.NewDivided(dev)
		dev = divided
	}
	m, err := open.PlaceWeights(dev, src, o)
	if err != nil {
		return nil, err
	}
	cache, err := open.Cache(caches, c, sequences, capacity)
	if err != nil {
		m.Close()
		return nil, err
	}
	return &placed{m, cache, timing.InTurns{Generate: timing.Generator(m, cache), Divided: divided}}, nil
}

// NewMeter prepares measurements of models up to the size of the base.
func NewMeter(dev device.Device, base *config.Config, o VerifyOptions) (*Meter, error) {
	caches, err := device.WithCacheType(dev, o.KVType)
	if err != nil {
		return nil, err
	}
	own, beside, err := pairOfWeights(dev, o.Seed, o.DType, modelBytes(base, o.DType), modelBytes(base, o.DType))
	if err != nil {
		return nil, err
	}
	return &Meter{dev: dev, caches: caches, base: base, own: own, beside: beside, o: o, load: newLoadMeter(o.OtherLoad, o.Now)}, nil
}

// place loads a model with these layers.
func (m *Meter) place(w *weights, layers []config.LayerShape) (*placed, error) {
	return place(m.dev, m.caches, w, withLayers(m.base, layers), m.o.Place, m.o.Workload.Batch, m.o.Workload.In+m.o.Workload.Out)
}

// prompts are random prompts of the workload.
func (m *Meter) prompts() ([][]int, error) {
	return setting{m.o.Workload.Batch, m.o.Workload.In, m.o.Workload.Out}.prompts(m.base)
}

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
	x, err := m.measure(ctx, m.base.Layers, m.o.Runs)
	return median(x.base), err
}

// Measure times a model with these layers beside the base until its share of the base's
// time is known to the wanted precision, or the tries are used up. dense is the base's time
// in milliseconds.
func (m *Meter) Measure(ctx context.Context, layers []config.LayerShape, dense float64) (Measured, error) {
	x, err := m.measure(ctx, layers, m.o.Tries)
	if err != nil {
		return Measured{}, err
	}
	return x.measured(m.o.Runs, dense), nil
}

// measure times a model beside the base. Both are in the device's memory only meanwhile.
func (m *Meter) measure(ctx context.Context, layers []config.LayerShape, tries int) (x pairs, err error) {
	base, err := m.place(m.beside, m.base.Layers)
	if err != nil {
		return x, err
	}
	defer base.close()
	err = m.turn(ctx, base, layers, max(1, tries, m.o.Runs), &x)
	return x, err
}

// turn times a model beside the base at most so many times more, and fewer when that is
// enough.
func (m *Meter) turn(ctx context.Context, base *placed, layers []config.LayerShape, tries int, x *pairs) error {
	own, err := m.place(m.own, layers)
	if err != nil {
		return err
	}
	defer own.close()
	w := m.o.Workload
	prompts, err := m.prompts()
	if err != nil {
		return err
	}
	// Every second run begins with the base.
	together := func(n, out int) (of, other timing.Run, err error) {
		order := []timing.InTurns{base.turns, own.turns}
		if n%2 == 1 {
			slices.Reverse(order)
		}
		runs, err := timing.MeasureInTurns(ctx, order, prompts, out, m.o.Now)
		if err != nil {
			return of, other, err
		}
		return runs[n%2], runs[1-n%2], nil
	}
	b, o, err := together(0, min(w.Out, 2)) // grows buffers
	if err != nil {
		return err
	}
	base.divide(b)
	own.divide(o)
	for range tries {
		runtime.GC()
		of, other, runs, elapsed := 0.0, 0.0, 0.0, time.Duration(0)
		taken, err := m.load.during(func() error {
			for n := len(x.share); elapsed < leastRun; n++ {
				b, o, err := together(n, w.Out)
				if err != nil {
					return err
				}
				of, other, runs, elapsed = of+m.part(b), other+m.part(o), runs+1, elapsed+b.Total()
			}
			return nil
		})
		if err != nil {
			return err
		}
		x.base, x.share, x.load = append(x.base, of/runs), append(x.share, other/of), append(x.load, taken)
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
