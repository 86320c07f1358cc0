package predict

import (
	"slices"

	"mop/runtime/device"
)

// WidthCost is what an MLP block of a width costs in a pass.
type WidthCost struct {
	Width  int
	MS     float64
	Lo, Hi float64
	// Line is the time that a straight line through the round widths on both sides gives.
	Line float64
}

// roundTo is what round widths are multiples of, the widest tile of any kernel.
const roundTo = 64

// Widths lists the measured MLP widths of a pass, ascending.
func (p *Pass) Widths() []WidthCost {
	var round []point
	for _, m := range p.MLP {
		if m.Intermediate%roundTo == 0 {
			round = append(round, point{float64(m.Intermediate), m.Total()})
		}
	}
	line := newCurve(round)
	var out []WidthCost
	for _, m := range p.MLP {
		w := WidthCost{Width: m.Intermediate, MS: m.Total(), Lo: m.GateUp.Lo + m.Down.Lo, Hi: m.GateUp.Hi + m.Down.Hi}
		if len(line) > 1 && w.Width >= int(line[0].x) && w.Width <= int(line[len(line)-1].x) {
			w.Line = line.at(float64(w.Width))
		}
		out = append(out, w)
	}
	return out
}

// PerNeuron is the time in milliseconds that one more neuron adds to an MLP block of the
// pass, and PerKVHead what one more KV head with its query heads adds to an attention
// block: the slope of a straight line through all sizes.
func (p *Pass) PerNeuron() float64 {
	var points []point
	for _, m := range p.MLP {
		points = append(points, point{float64(m.Intermediate), m.Total()})
	}
	return slope(points)
}

// PerKVHead: see PerNeuron. ratio is the number of query heads to a KV head.
func (p *Pass) PerKVHead(ratio int) float64 {
	var points []point
	for _, a := range p.Attention {
		if a.Heads == a.KVHeads*ratio {
			points = append(points, point{float64(a.KVHeads), a.Total()})
		}
	}
	return slope(points)
}

// slope is that of the least-squares line.
func slope(points []point) float64 {
	n := float64(len(points))
	if n < 2 {
		return 0
	}
	var sx, sy, sxx, sxy float64
	for _, p := range points {
		sx, sy, sxx, sxy = sx+p.x, sy+p.y, sxx+p.x*p.x, sxy+p.x*p.y
	}
	if d := n*sxx - sx*sx; d > 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}

// Penalty is the median of how much longer the widths of a kind take than a straight line
// through the multiples of 64 on both sides, as a share, and n the number of such
// measurements. Passes that were measured on a busy machine only are left out.
func (t *Table) Penalty(of func(width int) bool) (share float64, n int) {
	var all []float64
	for i := range t.Passes {
		p := &t.Passes[i]
		if p.Disturbed {
			continue
		}
		for _, w := range p.Widths() {
			if w.Line > 0 && w.Width >= roundTo && w.Width%roundTo != 0 && of(w.Width) {
				all = append(all, w.MS/w.Line-1)
			}
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	return medianOf(all), len(all)
}

// medianOf sorts x and returns its median.
func medianOf(x []float64) float64 {
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// freePenalty is the share of time up to which a width that is not round counts as free.
const freePenalty = 0.02

// RoundTo is the multiple that MLP widths should have on the table's device: 1 where odd
// widths cost no more than their size, and else the smallest power of two, up to 64,
// whose multiples do. ok is false where the table has too few odd widths to say.
func (t *Table) RoundTo() (multiple int, ok bool) {
	if _, n := t.Penalty(func(w int) bool { return w%2 == 1 }); n < 3 {
		return 0, false
	}
	for m := 1; m < roundTo; m *= 2 {
		// Multiples of m that are not multiples of 2m.
		if p, n := t.Penalty(func(w int) bool { return w%m == 0 && w%(2*m) != 0 }); n > 0 && p <= freePenalty {
			return m, true
		}
	}
	return roundTo, true
}

// FinestPass is the pass of a phase with the most MLP widths, nil without any.
func (t *Table) FinestPass(phase device.Phase) *Pass {
	var best *Pass
	for _, p := range t.passes(phase) {
		if best == nil || len(p.MLP)+len(p.Attention) > len(best.MLP)+len(best.Attention) {
			best = p
		}
	}
	return best
}

// Steps lists the widths at which the time jumps: the next measured width, at most 64
// further, costs more by over five times what the slope gives and over 1 % of the block.
func (p *Pass) Steps() []WidthCost {
	var out []WidthCost
	widths, per := p.Widths(), p.PerNeuron()
	for i := 1; i < len(widths); i++ {
		a, b := widths[i-1], widths[i]
		d := b.Width - a.Width
		if d <= roundTo && b.MS-a.MS > max(5*per*float64(d), 0.01*a.MS) && b.Lo > a.Hi {
			out = append(out, b)
		}
	}
	return out
}
