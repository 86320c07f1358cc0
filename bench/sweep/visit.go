package sweep

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"mop/bench/latency"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/model"
	"mop/runtime/open"
	"mop/runtime/timing"
)

// visit is one measurement of a task: medians over some runs, in milliseconds.
type visit struct {
	Key     string              `json:"key"`
	Load    float64             `json:"load"`    // share of the cores that others took
	Prefill float64             `json:"prefill"` // whole pass, sampling included
	Decode  float64             `json:"decode"`  // whole step, sampling included
	Runs    int                 `json:"runs"`
	Layers  []config.LayerShape `json:"layers,omitempty"` // of a stack, without the extra one
	// By layer and operation, of a stack, the extra layer last. The extra layer's times of
	// prefill are the sums over its calls.
	PrefillOps [][Operations]float64 `json:"prefill_ops,omitempty"`
	DecodeOps  [][Operations]float64 `json:"decode_ops,omitempty"`
}

// extra returns the times of the extra layer.
func (v *visit) extra(phase device.Phase) [Operations]float64 {
	if phase == device.Prefill {
		return v.PrefillOps[len(v.Layers)]
	}
	return v.DecodeOps[len(v.Layers)]
}

// total is what visits of one task are compared by.
func (v *visit) total() float64 { return v.Prefill + float64(outTokens-1)*v.Decode }

// measurer measures visits.
type measurer struct {
	dev     device.Device
	base    *config.Config
	weights *weights
	place   open.ModelOptions
	meter   loadMeter
	least   time.Duration // a visit takes at least this long
	now     func() time.Time
}

// visit measures a task once. The random numbers decide the order of the blocks.
func (m *measurer) visit(ctx context.Context, t *task, r *rand.Rand) (*visit, error) {
	c := t.config(m.base, r)
	src, err := m.weights.source(c)
	if err != nil {
		return nil, err
	}
	dev := m.dev
	var rec *Recorder
	if !t.whole() {
		rec = NewRecorder(m.dev, m.now)
		dev = rec
	}
	loaded, err := open.PlaceWeights(dev, src, m.place)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.key, err)
	}
	defer loaded.Close()
	if rec != nil {
		rec.Watch(loaded)
	}
	v := &visit{Key: t.key}
	if rec != nil {
		v.Layers = c.Layers[:len(c.Layers)-1]
	}
	if err := m.runs(ctx, t, loaded, rec, v); err != nil {
		return nil, fmt.Errorf("%s: %w", t.key, err)
	}
	return v, nil
}

// runs generates again and again until the visit is long enough.
func (m *measurer) runs(ctx context.Context, t *task, loaded *model.Model, rec *Recorder, v *visit) error {
	x := t.setting
	cache, err := open.Cache(loaded.Device(), loaded.Config, x.Batch, x.In+x.Out)
	if err != nil {
		return err
	}
	defer cache.Close()
	prompts, err := latency.Protocol{In: x.In, Out: x.Out, Batch: x.Batch, Runs: 1}.Prompts(loaded.Config.VocabSize, loaded.Config.EOS)
	if err != nil {
		return err
	}
	generate := timing.Generator(loaded, cache)
	sums := newOpTimes(len(loaded.Config.Layers))
	run := func() (timing.Run, error) {
		if rec != nil {
			rec.Clear()
		}
		return timing.Measure(ctx, generate, prompts, x.Out, m.now)
	}
	if _, err := run(); err != nil { // grows buffers and fills the tables of pages
		return err
	}
	runtime.GC()
	var prefill, decode []float64
	add := func(one timing.Run) {
		prefill = append(prefill, ms(one.TTFT()))
		for i := 1; i < len(one.Tokens); i++ {
			decode = append(decode, ms(one.Tokens[i]-one.Tokens[i-1]))
		}
		if rec != nil {
			sums.add(rec.Calls, x)
		}
	}
	v.Load, err = m.meter.during(func() error {
		for elapsed := time.Duration(0); elapsed < m.least || v.Runs < 1; {
			one, err := run()
			if err != nil {
				return err
			}
			add(one)
			v.Runs++
			elapsed += one.Total()
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.Prefill, v.Decode = median(prefill), median(decode)
	if rec != nil {
		v.PrefillOps, v.DecodeOps, err = sums.medians()
	}
	return err
}

// opTimes collects the times of operations by layer.
type opTimes struct {
	prefill, decode [][Operations][]float64 // [L] ms of each pass
}

func newOpTimes(layers int) *opTimes {
	return &opTimes{make([][Operations][]float64, layers), make([][Operations][]float64, layers)}
}

// add adds the calls of one run: the passes of prefill first, then the decode steps. A
// prompt may take several passes, whose times add up.
func (o *opTimes) add(calls []Call, x setting) {
	type cell struct {
		layer int
		op    Operation
	}
	// A run has Out-1 decode steps, which are the last calls of each layer's operation.
	total := map[cell]int{}
	for _, c := range calls {
		total[cell{c.Layer, c.Op}]++
	}
	seen := map[cell]int{}
	first := map[cell]float64{}
	for _, c := range calls {
		k := cell{c.Layer, c.Op}
		seen[k]++
		if seen[k] <= total[k]-(x.Out-1) {
			first[k] += ms(c.Time)
			continue
		}
		o.decode[c.Layer][c.Op] = append(o.decode[c.Layer][c.Op], ms(c.Time))
	}
	for k, t := range first {
		o.prefill[k.layer][k.op] = append(o.prefill[k.layer][k.op], t)
	}
}

// medians reduces the collected times.
func (o *opTimes) medians() (prefill, decode [][Operations]float64, err error) {
	reduce := func(all [][Operations][]float64) [][Operations]float64 {
		out := make([][Operations]float64, len(all))
		for l := range all {
			for op := range all[l] {
				if len(all[l][op]) == 0 {
					err = fmt.Errorf("layer %d: %v was not timed", l, Operation(op))
					continue
				}
				out[l][op] = median(all[l][op])
			}
		}
		return out
	}
	prefill, decode = reduce(o.prefill), reduce(o.decode)
	return prefill, decode, err
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// roomFor is the number of layers of a stack: those of the base, or fewer where their
// weights would take more than limit bytes.
func roomFor(c *config.Config, dtype checkpoint.DType, limit int64) int {
	n := len(c.Layers)
	for ; n > 2 && modelBytes(stackOf(c, n), dtype) > limit; n-- {
	}
	return n
}

// stackOf is the largest model that a stack of n layers can be, its extra layer included.
func stackOf(c *config.Config, n int) *config.Config {
	d := c.Clone()
	d.Layers = slices.Repeat([]config.LayerShape{widest(c)}, n+1)
	return d
}
