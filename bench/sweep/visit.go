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
	"mop/runtime/open"
	"mop/runtime/timing"
)

// visit is one measurement of a task: medians over some runs, in milliseconds. Everything is
// measured beside the base in the same setting: prefill in turns with the base's prefill,
// each decode step beside one of the base. Times are the shares of the base's, times the
// median of the base's.
type visit struct {
	Key     string              `json:"key"`
	Setting setting             `json:"setting"`
	Load    float64             `json:"load"` // share of the cores that others took
	Beside  baseTimes           `json:"base"`
	Prefill float64             `json:"prefill"` // whole pass, sampling included
	Decode  float64             `json:"decode"`  // whole step, sampling included
	Runs    int                 `json:"runs"`
	Layers  []config.LayerShape `json:"layers,omitempty"` // of a stack, without the extra one
	// By layer and operation, of a stack, the extra layer last. The extra layer's times of
	// prefill are the sums over its calls.
	PrefillOps [][Operations]float64 `json:"prefill_ops,omitempty"`
	DecodeOps  [][Operations]float64 `json:"decode_ops,omitempty"`
}

// baseTimes are the times of the base in a setting, in milliseconds.
type baseTimes struct {
	Prefill float64 `json:"prefill"`
	Decode  float64 `json:"decode"` // a step
}

// extra returns the times of the extra layer.
func (v *visit) extra(phase device.Phase) [Operations]float64 {
	if phase == device.Prefill {
		return v.PrefillOps[len(v.Layers)]
	}
	return v.DecodeOps[len(v.Layers)]
}

// measurer measures visits.
type measurer struct {
	dev     device.Device
	base    *config.Config
	weights *weights
	beside  *placed // the base; each visit gives it a cache for its setting
	place   open.ModelOptions
	meter   loadMeter
	least   time.Duration // a visit takes at least this long
	now     func() time.Time
}

// visit measures a task once. The random numbers decide the order of the blocks.
func (m *measurer) visit(ctx context.Context, t *task, r *rand.Rand) (*visit, error) {
	c := t.config(m.base, r)
	dev := m.dev
	var rec *Recorder
	if !t.whole() {
		rec = NewRecorder(m.dev, m.now)
		dev = rec
	}
	own, err := place(dev, m.dev, m.weights, c, m.place, t.setting.Batch, t.setting.In+t.setting.Out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.key, err)
	}
	defer own.close()
	if rec != nil {
		rec.Watch(own.model)
	}
	beside, err := m.beside.with(m.dev, t.setting)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.key, err)
	}
	defer beside.cache.Close()
	v := &visit{Key: t.key, Setting: t.setting}
	if rec != nil {
		v.Layers = c.Layers[:len(c.Layers)-1]
	}
	if err := m.runs(ctx, t, own, beside, rec, v); err != nil {
		return nil, fmt.Errorf("%s: %w", t.key, err)
	}
	return v, nil
}

// runs generates again and again until the visit is long enough. Every second run begins with
// the base.
func (m *measurer) runs(ctx context.Context, t *task, own, beside *placed, rec *Recorder, v *visit) error {
	x := t.setting
	prompts, err := x.prompts(m.base)
	if err != nil {
		return err
	}
	sums := newOpTimes(len(own.model.Config.Layers))
	together := func() (of, base timing.Run, err error) {
		if rec != nil {
			rec.Clear()
		}
		first := v.Runs % 2
		order := []timing.InTurns{own.turns, beside.turns}
		if first == 1 {
			slices.Reverse(order)
		}
		both, err := timing.MeasureInTurns(ctx, order, prompts, x.Out, m.now)
		if err != nil {
			return of, base, err
		}
		return both[first], both[1-first], nil
	}
	of, base, err := together() // grows buffers and fills the tables of pages
	if err != nil {
		return err
	}
	own.divide(of)
	beside.divide(base)
	runtime.GC()
	var prefill, decode, basePrefill, baseDecode []float64
	v.Load, err = m.meter.during(func() error {
		for elapsed := time.Duration(0); elapsed < m.least || v.Runs < 1; {
			of, base, err := together()
			if err != nil {
				return err
			}
			one, steps := stepsOf(of), stepsOf(base)
			prefill, basePrefill = append(prefill, ms(of.TTFT())/ms(base.TTFT())), append(basePrefill, ms(base.TTFT()))
			baseDecode = append(baseDecode, steps...)
			for i := range one {
				decode = append(decode, one[i]/steps[i])
			}
			if rec != nil {
				sums.add(rec.Calls, ms(base.TTFT()), steps)
			}
			v.Runs++
			elapsed += of.Total()
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.Beside = baseTimes{median(basePrefill), median(baseDecode)}
	v.Prefill, v.Decode = median(prefill)*v.Beside.Prefill, median(decode)*v.Beside.Decode
	if rec != nil {
		v.PrefillOps, v.DecodeOps, err = sums.medians(v.Beside)
	}
	return err
}

// prompts are random prompts of the setting.
func (x setting) prompts(c *config.Config) ([][]int, error) {
	return latency.Protocol{In: x.In, Out: x.Out, Batch: x.Batch, Runs: 1}.Prompts(c.VocabSize, c.EOS)
}

// stepsOf are the decode steps of a run in milliseconds.
func stepsOf(r timing.Run) (out []float64) {
	for i := 1; i < len(r.Tokens); i++ {
		out = append(out, ms(r.Tokens[i]-r.Tokens[i-1]))
	}
	return out
}

// opTimes collects the times of operations by layer, as shares of the base's prefill and of
// its decode step beside them.
type opTimes struct{ prefill, decode [][Operations][]float64 } // [L]

func newOpTimes(layers int) *opTimes {
	return &opTimes{make([][Operations][]float64, layers), make([][Operations][]float64, layers)}
}

// add adds the calls of one run: the passes of prefill first, then the decode steps. A
// prompt may take several passes, whose times add up. The base's times are in milliseconds.
func (o *opTimes) add(calls []Call, prefill float64, steps []float64) {
	type cell struct {
		layer int
		op    Operation
	}
	// The decode steps are the last calls of each layer's operation.
	total := map[cell]int{}
	for _, c := range calls {
		total[cell{c.Layer, c.Op}]++
	}
	seen := map[cell]int{}
	first := map[cell]float64{}
	for _, c := range calls {
		k := cell{c.Layer, c.Op}
		seen[k]++
		step := seen[k] - 1 - (total[k] - len(steps))
		if step < 0 {
			first[k] += ms(c.Time)
			continue
		}
		o.decode[c.Layer][c.Op] = append(o.decode[c.Layer][c.Op], ms(c.Time)/steps[step])
	}
	for k, t := range first {
		o.prefill[k.layer][k.op] = append(o.prefill[k.layer][k.op], t/prefill)
	}
}

// medians reduces the collected shares to milliseconds.
func (o *opTimes) medians(base baseTimes) (prefill, decode [][Operations]float64, err error) {
	reduce := func(all [][Operations][]float64, unit float64) [][Operations]float64 {
		out := make([][Operations]float64, len(all))
		for l := range all {
			for op := range all[l] {
				if len(all[l][op]) == 0 {
					err = fmt.Errorf("layer %d: %v was not timed", l, Operation(op))
					continue
				}
				out[l][op] = median(all[l][op]) * unit
			}
		}
		return out
	}
	prefill, decode = reduce(o.prefill, base.Prefill), reduce(o.decode, base.Decode)
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
