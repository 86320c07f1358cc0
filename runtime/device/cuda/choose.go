//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"
	"math"

	"mop/runtime/device"
)

// coldest is the smallest temperature that is drawn at: below it, logits that differ
// at all are further apart than any exponential number makes up for. Below cold, the
// distance from the largest logit is what float32 can divide without loss.
const (
	coldest = 1e-30
	cold    = 0.1
)

// drawing is a device.Draw with what it needs of the device's memory.
type drawing struct {
	device.SamplingParams
	seen    pointer // [N, words] uint32
	words   int
	streams pointer // [N] uint64
	places  pointer // [N, 2] int32
	advance int     // 1 = the places move one on
}

// Sample: see device.Stepper.
func (d *Device) Sample(h device.LMHead, n int, by device.SamplingParams) {
	r := d.recorder
	if r == nil {
		d.fail(errors.New("choose: want it recorded"))
		return
	}
	d.head("choose", n, h)
	if n != r.ids.cols || n > h.X.Rows() {
		d.fail(fmt.Errorf("choose: want %d rows as recorded, got %d of %d", r.ids.cols, n, h.X.Rows()))
		return
	}
	V := h.W.Shape()[0]
	g := drawing{SamplingParams: by, places: r.places.p, advance: 1}
	if by.Temperature > 0 {
		if len(by.Streams) != n {
			d.fail(fmt.Errorf("choose: want a stream for each of %d rows, got %d", n, len(by.Streams)))
			return
		}
		b, err := d.alloc(1, n, n, 8)
		if err != nil {
			d.fail(err)
			return
		}
		d.upload(b, raw(by.Streams))
		d.keep(b)
		g.streams = b.p
	}
	if by.HasPenalty() {
		g.words = ceilDiv(V, 32)
		var err error
		if r.seen, err = d.zeroed(n, g.words, g.words, 4); err != nil {
			d.fail(err)
			return
		}
		g.seen = r.seen.p
	}
	hidden := d.end("end", h, 0, n)
	ldz := roundUp(V, 32)
	z := d.need("logits", n*ldz*4, false)
	d.form(device.Decode, halves{z, ldz}, hidden, n, h.W.(*weight), 0, V)
	d.sample(r.ids.p, z, ldz, V, n, g)
}

// sample queues the choice of an id for each row of logits [n, V], into ids.
func (d *Device) sample(ids, z pointer, ldz, V, n int, g drawing) {
	t := g.Temperature
	if t > 0 {
		t = min(max(t, coldest), math.MaxFloat32)
	}
	penalty := 1.0
	if g.HasPenalty() {
		penalty = g.RepetitionPenalty
	}
	args := []any{ids, z, ldz, V, float32(t), float32(penalty), g.seen, g.words, g.streams, g.places, g.advance}
	if t > 0 && (t < cold || g.TopK > 0 && g.TopK < V || g.TopP > 0 && g.TopP < 1 || g.MinP > 0) {
		d.launch("sample", [3]int{n, 1, 1}, sampleThreads, sampleShared, append(args, min(g.TopK, V), float32(g.TopP), float32(g.MinP))...)
		return
	}
	parts := max(1, min(64, V/1024))
	d.launch("choose", [3]int{parts, n, 1}, 256, 128, append(args, d.need("best", 8*n*parts, false), d.need("choices", 4*n, true))...)
}
