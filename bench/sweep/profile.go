package sweep

import (
	"context"
	"fmt"

	"mop/bench/latency"
	"mop/runtime/config"
	"mop/runtime/timing"
)

// Profile is where the time of a run goes, in milliseconds.
type Profile struct {
	Prefill, Decode PassProfile // Decode is one step, the mean over the run
	Load            float64     // share of the cores that others took meanwhile
}

// PassProfile divides a pass.
type PassProfile struct {
	Total  float64
	Ops    [Operations]float64   // over all layers
	Layers [][Operations]float64 // [L]
	Other  float64               // embedding, LM head, sampling
}

// Profile times the operations of a model with these layers, in its place in a run.
func (m *Meter) Profile(ctx context.Context, layers []config.LayerShape) (*Profile, error) {
	w, rec := m.o.Workload, NewRecorder(m.dev, m.o.Now)
	own, err := place(rec, m.caches, m.own, withLayers(m.base, layers), m.o.Place, w.Batch, w.In+w.Out)
	if err != nil {
		return nil, err
	}
	defer own.close()
	rec.Watch(own.model)
	prompts, err := m.prompts()
	if err != nil {
		return nil, err
	}
	var best *Profile
	for n := range 6 { // the first run grows buffers
		rec.Clear()
		var one timing.Run
		load, err := m.load.during(func() (err error) {
			one, err = timing.Measure(ctx, own.turns.Generate, prompts, w.Out, m.o.Now)
			return err
		})
		if err != nil {
			return nil, err
		}
		if n == 0 {
			continue
		}
		p := profileOf(rec.Calls, one, len(layers), w.Out)
		p.Load = load
		total := func(p *Profile) float64 { return p.Prefill.Total + float64(w.Out-1)*p.Decode.Total }
		if best == nil || total(p) < total(best) {
			best = p
		}
		if best.Load <= latency.Busy && n >= 3 {
			break
		}
	}
	if best == nil {
		return nil, fmt.Errorf("no run was timed")
	}
	return best, nil
}

// profileOf adds up the calls of one run: of each layer's operation, the last out-1 are
// the decode steps.
func profileOf(calls []Call, one timing.Run, layers, out int) *Profile {
	type cell struct {
		layer int
		op    Operation
	}
	total, seen := map[cell]int{}, map[cell]int{}
	for _, c := range calls {
		total[cell{c.Layer, c.Op}]++
	}
	p := &Profile{}
	p.Prefill.Layers, p.Decode.Layers = make([][Operations]float64, layers), make([][Operations]float64, layers)
	steps := float64(max(1, out-1))
	for _, c := range calls {
		k := cell{c.Layer, c.Op}
		seen[k]++
		if seen[k] <= total[k]-(out-1) {
			p.Prefill.add(c, ms(c.Time))
		} else {
			p.Decode.add(c, ms(c.Time)/steps)
		}
	}
	p.Prefill.Total = ms(one.TTFT())
	p.Decode.Total = ms(one.Total()-one.TTFT()) / steps
	for _, x := range []*PassProfile{&p.Prefill, &p.Decode} {
		x.Other = x.Total
		for _, t := range x.Ops {
			x.Other -= t
		}
		x.Other = max(0, x.Other)
	}
	return p
}

func (p *PassProfile) add(c Call, ms float64) {
	p.Ops[c.Op] += ms
	p.Layers[c.Layer][c.Op] += ms
}
