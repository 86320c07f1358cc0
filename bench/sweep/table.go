package sweep

import (
	"cmp"
	"log/slog"
	"slices"

	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/predict"
)

// table reduces all visits of a journal, those of former sweeps included.
func (o *Options) table(dev device.Device, j visits) (*predict.Table, error) {
	t := &predict.Table{Version: predict.Version, Model: predict.ModelOf(o.Name, o.Base, o.DType.String()), Machine: o.source(dev)}
	known := map[string]task{}
	var keys []string
	for _, x := range allTasks(o.Base, roomFor(o.Base, o.DType, o.Memory), queues(dev)) {
		if _, ok := known[x.key]; !ok {
			known[x.key] = x
			keys = append(keys, x.key)
		}
	}
	usual := j.usual()
	builders := map[passKey]*passBuilder{}
	calibrations := map[setting][]predict.Whole{}
	var undisturbed []predict.Whole
	for _, key := range keys {
		x := known[key]
		visits := j.of(key)
		if len(visits) == 0 {
			continue
		}
		kept, disturbed := keep(visits, usual[x.setting])
		if x.whole() {
			both := wholes(x, kept)
			if x.what == calibration {
				calibrations[x.setting] = append(calibrations[x.setting], both...)
				continue
			}
			t.Whole = append(t.Whole, both...)
			if !disturbed {
				undisturbed = append(undisturbed, both...)
			}
			continue
		}
		for _, phase := range []device.Phase{device.Prefill, device.Decode} {
			if phase == device.Prefill && x.setting.Batch*x.setting.In > dev.Capabilities().PrefillRows {
				continue // several passes
			}
			k := passKey{phase, x.setting}
			if builders[k] == nil {
				builders[k] = newPassBuilder()
			}
			for _, v := range kept {
				builders[k].add(phase, v)
			}
			builders[k].disturbed = builders[k].disturbed || disturbed
		}
	}
	for k, b := range builders {
		p := b.pass(k)
		if queues(dev) {
			var whole []predict.Whole
			for _, w := range calibrations[k.setting] {
				if w.Phase == p.Phase {
					whole = append(whole, w)
				}
			}
			if !calibrate(&p, whole) {
				slog.Warn("recorded times could not be fitted to those of whole models", "pass", k.phase, "setting", k.setting)
			}
		}
		t.Passes = append(t.Passes, p)
	}
	if !queues(dev) {
		calibrateDecode(t.Passes, undisturbed)
	}
	slices.SortFunc(t.Passes, func(a, b predict.Pass) int {
		return cmp.Or(cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Tokens, b.Tokens))
	})
	return t, t.Check()
}

// keep returns the undisturbed visits of a task, scaled to a usual speed of the base. If there
// is none, it returns the third with the fastest base, and disturbed is true.
func keep(visits []*visit, usual baseTimes) (kept []*visit, disturbed bool) {
	if usual == (baseTimes{}) { // no visit was without load
		usual = slices.MinFunc(visits, byBase).Beside
	}
	for _, v := range visits {
		if v.usable(usual) {
			kept = append(kept, v.scaled(usual))
		}
	}
	if len(kept) > 0 {
		return kept, false
	}
	visits = slices.SortedFunc(slices.Values(visits), byBase)
	for _, v := range visits[:(len(visits)+2)/3] {
		kept = append(kept, v.scaled(usual))
	}
	return kept, true
}

func byBase(a, b *visit) int { return cmp.Compare(a.Beside.Decode, b.Beside.Decode) }

// scaled is the visit as if the base had taken so long.
func (v *visit) scaled(base baseTimes) *visit {
	prefill, decode, out := base.Prefill/v.Beside.Prefill, base.Decode/v.Beside.Decode, *v
	out.Prefill, out.PrefillOps = v.Prefill*prefill, scaleAll(v.PrefillOps, prefill)
	out.Decode, out.DecodeOps = v.Decode*decode, scaleAll(v.DecodeOps, decode)
	return &out
}

func scaleAll(ops [][Operations]float64, factor float64) [][Operations]float64 {
	out := slices.Clone(ops)
	for l := range out {
		for op := range out[l] {
			out[l][op] *= factor
		}
	}
	return out
}

func wholes(x task, visits []*visit) []predict.Whole {
	var prefill, decode []float64
	for _, v := range visits {
		prefill, decode = append(prefill, v.Prefill), append(decode, v.Decode)
	}
	w := predict.Whole{What: x.what, Shape: x.shape, Layers: x.layers, Batch: x.setting.Batch}
	p, d := w, w
	p.Phase, p.Tokens, p.Time = device.Prefill.String(), float64(x.setting.In), timeOf(prefill)
	d.Phase, d.Tokens, d.Time = device.Decode.String(), meanContext(x.setting), timeOf(decode)
	return []predict.Whole{p, d}
}

// meanContext is the mean number of positions in the cache over a run's decode steps.
func meanContext(x setting) float64 { return float64(x.In) + float64(x.Out-2)/2 }

type passKey struct {
	phase device.Phase
	setting
}

// passBuilder collects one pass's times by block.
type passBuilder struct {
	attention map[config.LayerShape]*[Operations][]float64 // of shapes without neurons
	mlp       map[int]*[Operations][]float64
	other     []float64
	disturbed bool
}

func newPassBuilder() *passBuilder {
	return &passBuilder{attention: map[config.LayerShape]*[Operations][]float64{}, mlp: map[int]*[Operations][]float64{}}
}

// add adds a visit. A block that several layers have counts as the mean of them, so that
// every visit has one value.
func (b *passBuilder) add(phase device.Phase, v *visit) {
	ops, other := v.DecodeOps, v.Decode
	if phase == device.Prefill {
		ops, other = v.PrefillOps, v.Prefill
	}
	attention, mlp := map[config.LayerShape][][Operations]float64{}, map[int][][Operations]float64{}
	for l, s := range v.Layers {
		for _, t := range ops[l] {
			other -= t
		}
		a := s
		a.Intermediate = 0
		attention[a], mlp[s.Intermediate] = append(attention[a], ops[l]), append(mlp[s.Intermediate], ops[l])
	}
	for _, t := range v.extra(phase) {
		other -= t
	}
	b.other = append(b.other, max(0, other))
	for s, list := range attention {
		if b.attention[s] == nil {
			b.attention[s] = &[Operations][]float64{}
		}
		for _, op := range []Operation{QKV, Attend, Output} {
			b.attention[s][op] = append(b.attention[s][op], mean(list, op))
		}
	}
	for w, list := range mlp {
		if b.mlp[w] == nil {
			b.mlp[w] = &[Operations][]float64{}
		}
		for _, op := range []Operation{GateUp, Down} {
			b.mlp[w][op] = append(b.mlp[w][op], mean(list, op))
		}
	}
}

func mean(list [][Operations]float64, op Operation) float64 {
	sum := 0.0
	for _, t := range list {
		sum += t[op]
	}
	return sum / float64(len(list))
}

func (b *passBuilder) pass(k passKey) predict.Pass {
	p := predict.Pass{Phase: k.phase.String(), Batch: k.Batch, Tokens: float64(k.In), Other: timeOf(b.other), Disturbed: b.disturbed}
	if k.phase == device.Decode {
		p.Tokens = meanContext(k.setting)
	}
	for s, t := range b.attention {
		p.Attention = append(p.Attention, predict.Attention{Heads: s.Heads, KVHeads: s.KVHeads, QKV: timeOf(t[QKV]), Attend: timeOf(t[Attend]), Output: timeOf(t[Output])})
	}
	for w, t := range b.mlp {
		p.MLP = append(p.MLP, predict.MLP{Intermediate: w, GateUp: timeOf(t[GateUp]), Down: timeOf(t[Down])})
	}
	slices.SortFunc(p.Attention, func(a, b predict.Attention) int {
		return cmp.Or(cmp.Compare(a.Heads, b.Heads), cmp.Compare(a.KVHeads, b.KVHeads))
	})
	slices.SortFunc(p.MLP, func(a, b predict.MLP) int { return cmp.Compare(a.Intermediate, b.Intermediate) })
	return p
}

// timeOf is the median over visits with the order statistics that bound it with 95 %
// confidence; below six visits these are the smallest and the largest.
func timeOf(x []float64) predict.Time {
	s := slices.Sorted(slices.Values(x))
	n := len(s)
	// Binomial bounds of the median: the largest k with P(fewer than k below) <= 2.5 %.
	k, p, sum := 0, 1.0, 0.0
	for range n {
		p /= 2
	}
	for i := 0; i < n/2; i++ {
		if sum += p; sum > 0.025 {
			break
		}
		k = i + 1
		p *= float64(n-i) / float64(i+1)
	}
	k = max(k, 1)
	return predict.Time{MS: median(s), Lo: s[k-1], Hi: s[n-k], N: n}
}
