package predict

import (
	"fmt"
	"math"

	"mop/runtime/config"
	"mop/runtime/device"
)

// passes lists the passes of a phase.
func (t *Table) passes(phase device.Phase) []*Pass {
	var out []*Pass
	for i := range t.Passes {
		if t.Passes[i].Phase == phase.String() {
			out = append(out, &t.Passes[i])
		}
	}
	return out
}

// rows is how many rows of activations each weight is multiplied by.
func (p *Pass) rows() float64 {
	if p.Phase == device.Decode.String() {
		return float64(p.Batch)
	}
	return float64(p.Batch) * p.Tokens
}

// value reads the time of a block of a wanted size from a pass; ok is false where the
// pass does not have it.
type value func(p *Pass) (ms float64, ok bool)

// attentionWidths interpolates over the number of heads, among the blocks that share KV
// heads as the wanted shape does.
func attentionWidths(s config.LayerShape, ms func(Attention) float64) value {
	return func(p *Pass) (float64, bool) {
		var points []point
		for _, a := range p.Attention {
			if a.Heads == s.Heads && a.KVHeads == s.KVHeads {
				return ms(a), true
			}
			if a.sharesAs(s) {
				points = append(points, point{float64(a.Heads), ms(a)})
			}
		}
		return atWidth(points, float64(s.Heads))
	}
}

// mlpWidths interpolates the time of the MLP block over the width.
func mlpWidths(width int) value {
	return func(p *Pass) (float64, bool) {
		var points []point
		for _, m := range p.MLP {
			points = append(points, point{float64(m.Intermediate), m.Total()})
		}
		return atWidth(points, float64(width))
	}
}

// atWidth interpolates over a width. A single point is scaled in proportion.
func atWidth(points []point, width float64) (float64, bool) {
	switch len(points) {
	case 0:
		return 0, false
	case 1:
		return points[0].y * width / points[0].x, true
	}
	return newCurve(points).at(width), true
}

// byRows interpolates over the rows of a pass, for operations whose time does not depend
// on positions.
func (t *Table) byRows(phase device.Phase, rows float64, v value) float64 {
	var points []point
	for _, p := range t.passes(phase) {
		if ms, ok := v(p); ok {
			points = append(points, point{p.rows(), ms})
		}
	}
	c := newCurve(points)
	if len(c) > 0 && rows < c[0].x {
		return c[0].y // few rows: reading the weights takes the time
	}
	if len(c) == 1 {
		return c[0].y * rows / c[0].x
	}
	return c.at(rows)
}

// attendMS is the time of the attention operation.
func attendMS(a Attention) float64 { return a.Attend.MS }

// prefillAttention is the time of the attention operation of one chunk, whose queries see
// so many pairs of positions in all.
func (t *Table) prefillAttention(s config.LayerShape, seen float64) float64 {
	v := attentionWidths(s, attendMS)
	var points []point
	for _, p := range t.passes(device.Prefill) {
		if ms, ok := v(p); ok {
			points = append(points, point{p.Tokens * (p.Tokens + 1) / 2, ms / float64(p.Batch)})
		}
	}
	c := newCurve(points)
	if len(c) == 1 {
		return c[0].y * seen / c[0].x
	}
	return c.at(seen)
}

// decodeAttention is the time of the attention operation of a decode step over so many
// positions of each sequence.
func (t *Table) decodeAttention(s config.LayerShape, batch int, context float64) float64 {
	v := attentionWidths(s, attendMS)
	curves := map[int]curve{} // over the context, by batch
	points := map[int][]point{}
	for _, p := range t.passes(device.Decode) {
		if ms, ok := v(p); ok {
			points[p.Batch] = append(points[p.Batch], point{p.Tokens, ms})
		}
	}
	for b, list := range points {
		curves[b] = newCurve(list)
	}
	return overBatch(curves, batch, context)
}

// overBatch interpolates over the batch. Curves of one context only, as a sweep of the
// batch leaves them, follow the longest curve's form.
func overBatch(curves map[int]curve, batch int, x float64) float64 {
	longest := 0
	for b, c := range curves {
		if n := len(curves[longest]); len(c) > n || len(c) == n && b < longest {
			longest = b
		}
	}
	form := curves[longest]
	var points []point
	for b, c := range curves {
		y := c.at(x)
		if len(c) == 1 && len(form) > 1 {
			if there := form.at(c[0].x); there > 0 {
				y = c[0].y * form.at(x) / there
			}
		}
		points = append(points, point{float64(b), y})
	}
	c := newCurve(points)
	if len(c) == 1 {
		return c[0].y * float64(batch) / c[0].x
	}
	return c.at(float64(batch))
}

// otherAt is the time of a pass outside of the layers.
func (t *Table) otherAt(phase device.Phase, batch int, tokens float64) float64 {
	points := map[int][]point{}
	for _, p := range t.passes(phase) {
		points[p.Batch] = append(points[p.Batch], point{p.Tokens, p.Other.MS})
	}
	curves := map[int]curve{}
	nearest, distance := 0, math.Inf(1)
	for b, list := range points {
		curves[b] = newCurve(list)
		if d := math.Abs(float64(b - batch)); d < distance || d == distance && b < nearest {
			nearest, distance = b, d
		}
	}
	if len(curves) == 1 {
		return curves[nearest].at(tokens)
	}
	return overBatch(curves, batch, tokens)
}

// Extrapolated says how far beyond the measured passes a workload is, "" where it is not over
// twice as long or of a larger batch.
func (t *Table) Extrapolated(w Workload) string {
	batch, tokens := 0, 0.0
	for _, p := range t.Passes {
		batch, tokens = max(batch, p.Batch), max(tokens, p.Tokens)
	}
	switch need := float64(w.In + w.Out); {
	case w.Batch > batch:
		return fmt.Sprintf("batches of up to %d were measured, not %d", batch, w.Batch)
	case need > 2*tokens+outMargin:
		return fmt.Sprintf("up to %.0f positions were measured, not %.0f", tokens, need)
	}
	return ""
}

// outMargin is a number of positions that change a step's time little in any table.
const outMargin = 128
