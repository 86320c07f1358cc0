package model

import (
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
)

// reserve makes all activations of n rows. With Recompute the layers of one shape
// share what a layer keeps, since only one of them holds it at a time.
func (l *Trainer) reserve(n int) error {
	var err error
	buffer := func(cols int) (b device.Buffer) {
		if err == nil {
			b, err = l.dev.Buffer(n, cols)
		}
		return b
	}
	D := l.m.Config.HiddenSize
	t := &l.tape
	t.x, t.dx, t.h, t.dh, t.last, t.dlast, t.r = buffer(D), buffer(D), buffer(D), buffer(D), buffer(D), buffer(D), buffer(1)
	t.wide = map[string]device.Buffer{}
	wide := func(name string, cols int) {
		if k := key(name, cols); cols > 0 && t.wide[k] == nil {
			t.wide[k] = buffer(cols)
		}
	}
	shared := map[config.LayerShape]*savedActivations{}
	for i := range l.layers {
		s := l.m.layers[i].shape
		for _, name := range []string{"m", "dm", "du"} {
			wide(name, s.Intermediate)
		}
		for _, name := range []string{"da", "dq"} {
			wide(name, s.Heads*s.HeadDim)
		}
		for _, name := range []string{"dk", "dv"} {
			wide(name, s.KVHeads*s.HeadDim)
		}
		y := &l.layers[i]
		if l.options.Recompute {
			y.input = buffer(D)
			if y.kept = shared[s]; y.kept != nil {
				continue
			}
		}
		k := &savedActivations{inner: map[checkpoint.Param]device.Buffer{}}
		if s.Heads > 0 {
			q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
			k.attnIn, k.attnR, k.q, k.k, k.v, k.a, k.stats = buffer(D), buffer(1), buffer(q), buffer(kv), buffer(kv), buffer(q), buffer(s.Heads)
		}
		if s.Intermediate > 0 {
			k.mlpIn, k.mlpR, k.gate, k.up = buffer(D), buffer(1), buffer(s.Intermediate), buffer(s.Intermediate)
		}
		for _, p := range checkpoint.Projections() {
			if y.adapters[p] != nil {
				k.inner[p] = buffer(l.options.Rank)
			}
		}
		y.kept, shared[s] = k, k
	}
	return err
}
