package sweep

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"mop/runtime/config"
)

// task is one kind of visit: a set of blocks in a setting, or a whole model of layers
// that are alike.
type task struct {
	key     string
	setting setting
	// Of a stack: the blocks that its layers have, in a new order at every visit. Both
	// lists are as long as the stack has layers.
	attention []config.LayerShape
	mlp       []int
	// Of a whole model.
	what   string
	shape  config.LayerShape
	layers int
}

// whole reports whether the task is a whole model.
func (t *task) whole() bool { return t.layers > 0 }

// config is the task's model at one visit.
func (t *task) config(base *config.Config, r *rand.Rand) *config.Config {
	c := base.Clone()
	if t.whole() {
		c.Layers = slices.Repeat([]config.LayerShape{t.shape}, t.layers)
		return c
	}
	c.Layers = slices.Clone(t.attention)
	order := r.Perm(len(t.mlp))
	for l := range c.Layers {
		c.Layers[l].Intermediate = t.mlp[order[l]]
	}
	r.Shuffle(len(c.Layers), func(i, j int) { c.Layers[i], c.Layers[j] = c.Layers[j], c.Layers[i] })
	// The last layer of a long prompt computes fewer rows. An extra one takes its place,
	// which is not recorded.
	c.Layers = append(c.Layers, widest(base))
	return c
}

// tasks lists what has to be visited. layers is the number of layers of a stack. With
// calibrated, recorded times are fitted to those of whole models.
func tasks(c *config.Config, what []string, layers int, calibrated bool) []task {
	s := widest(c)
	var out []task
	settings := settingsOf(c, what)
	for i, x := range settings {
		attention, widths := headShapes(s, 8), coarseWidths(s.Intermediate)
		blocks := "coarse"
		if i == 0 && slices.Contains(what, "heads") {
			attention, blocks = headShapes(s, 32), blocks+" heads"
		}
		if i == 0 && slices.Contains(what, "mlp") {
			widths, blocks = fineWidths(s.Intermediate), blocks+" mlp"
		}
		if i == 0 && slices.Contains(what, "kv") {
			attention, blocks = append(attention, kvShapes(s)...), blocks+" kv"
		}
		out = append(out, stacks(x, blocks, attention, widths, layers)...)
		if calibrated {
			out = append(out, calibrationTasks(c, x, layers)...)
		}
	}
	base := settings[0]
	add := func(what string, s config.LayerShape, layers int) {
		out = append(out, task{key: fmt.Sprintf("%s, whole model by "+what+", %d layers of %d/%d heads, %d neurons", base, layers, s.Heads, s.KVHeads, s.Intermediate),
			setting: base, what: what, shape: s, layers: layers})
	}
	for _, name := range what {
		switch name {
		case "mlp":
			for _, w := range fineWidths(s.Intermediate) {
				add(name, config.LayerShape{Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Intermediate: w}, layers)
			}
		case "heads":
			for _, a := range headShapes(s, 32) {
				a.Intermediate = s.Intermediate
				add(name, a, layers)
			}
		case "kv":
			for _, a := range kvShapes(s) {
				a.Intermediate = s.Intermediate
				add(name, a, layers)
			}
		case "layers":
			for i := 1; i <= min(8, layers); i++ {
				add(name, s, max(1, layers*i/min(8, layers)))
			}
		}
	}
	return out
}

// stacks divides blocks over as many models as have room for them, of so many layers
// each. Layers that are left over repeat blocks.
func stacks(x setting, blocks string, attention []config.LayerShape, widths []int, layers int) []task {
	n := max(1, (max(len(attention), len(widths))+layers-1)/layers)
	var out []task
	for i := range n {
		t := task{key: fmt.Sprintf("%s, %s, stack %d of %d", x, blocks, i+1, n), setting: x}
		for l := range layers {
			t.attention = append(t.attention, attention[(i+l*n)%len(attention)])
			t.mlp = append(t.mlp, widths[(i+l*n)%len(widths)])
		}
		out = append(out, t)
	}
	return out
}

// allTasks lists the tasks of every choice of quantities, so that visits of former sweeps
// are found by their keys.
func allTasks(c *config.Config, layers int, calibrated bool) (out []task) {
	all := Quantities()
	for mask := range 1 << len(all) {
		var what []string
		for i, name := range all {
			if mask>>i&1 == 1 {
				what = append(what, name)
			}
		}
		out = append(out, tasks(c, what, layers, calibrated)...)
	}
	return out
}
