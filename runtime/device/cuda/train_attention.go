//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"mop/runtime/device"
)

// attentionKernels holds what both passes need: the kernels' suffix, the grid over queries
// and that over keys, shared memory, and the spans' tiles or rows.
type attentionKernels struct {
	suffix        string
	queries, keys [3]int
	list          pointer
	shared        int // memory, bytes
}

// chooseAttention chooses the kernels and their launch geometry for a shape of heads.
func (d *Device) chooseAttention(hs device.AttentionShape, n int) attentionKernels {
	w := attentionPrefillWidth(hs.Dh)
	if w == 0 {
		return attentionKernels{"any", [3]int{n, hs.H, 1}, [3]int{n, hs.K, 1}, d.pass.rows, 2048}
	}
	return attentionKernels{fmt.Sprint(w), [3]int{d.pass.tileCount, hs.H, 1}, [3]int{d.pass.tileCount, hs.K, 1}, d.pass.tiles, attentionTrainShared(w)}
}

// checkAttention checks the heads and the spans, and returns the number of rows.
func (d *Device) checkAttention(op string, hs device.AttentionShape, spans []device.Span) (n int) {
	if hs.K < 1 || hs.H < 1 || hs.H%hs.K != 0 || hs.Dh < 1 || hs.Dh%2 != 0 || hs.Dh > maxHeadSize {
		d.fail(fmt.Errorf("%s: want heads in groups, of an even width up to %d, got %+v", op, maxHeadSize, hs))
	}
	return d.uploadSpans(op, spans)
}

// attentionWork is that of some products of causal attention over the pass's spans: half of the
// pairs of a query and a key count. numbers of float32 are read or written.
func (d *Device) attentionWork(hs device.AttentionShape, products, numbers int) work {
	w := work{bytes: 4 * float64(numbers)}
	for _, s := range d.pass.spans {
		w.flops += float64(products) * float64(s.Len) * float64(s.Len) * float64(hs.H*hs.Dh)
	}
	return w
}

// AttentionForward: see device.Trainer.
func (d *Device) AttentionForward(a, stats, q, k, v device.Buffer, hs device.AttentionShape, spans []device.Span) {
	const op = "attention forward"
	n, wide, few := d.checkAttention(op, hs, spans), hs.H*hs.Dh, hs.K*hs.Dh
	ab, sb, qb := d.float32Buffer(op, "a", a, n, wide), d.float32Buffer(op, "stats", stats, n, hs.H), d.float32Buffer(op, "q", q, n, wide)
	kb, vb := d.float32Buffer(op, "k", k, n, few), d.float32Buffer(op, "v", v, n, few)
	if d.err != nil {
		return
	}
	w := d.chooseAttention(hs, n)
	d.expect(d.attentionWork(hs, 2, 2*n*wide+2*n*few))
	d.launch("attention_forward_"+w.suffix, w.queries, 128, w.shared, ab.p, ab.pitch, sb.p, sb.pitch, qb.p, qb.pitch, kb.p, vb.p, kb.pitch,
		w.list, hs.H, hs.K, hs.Dh, float32(math.Log2E/math.Sqrt(float64(hs.Dh))))
}

// AttentionBackward: see device.Trainer.
func (d *Device) AttentionBackward(dq, dk, dv, da, a, stats, q, k, v device.Buffer, hs device.AttentionShape, spans []device.Span) {
	const op = "attention backward"
	n, wide, few := d.checkAttention(op, hs, spans), hs.H*hs.Dh, hs.K*hs.Dh
	dqb, dkb, dvb := d.float32Buffer(op, "q'", dq, n, wide), d.float32Buffer(op, "k'", dk, n, few), d.float32Buffer(op, "v'", dv, n, few)
	dab, ab, sb := d.float32Buffer(op, "a'", da, n, wide), d.float32Buffer(op, "a", a, n, wide), d.float32Buffer(op, "stats", stats, n, hs.H)
	qb, kb, vb := d.float32Buffer(op, "q", q, n, wide), d.float32Buffer(op, "k", k, n, few), d.float32Buffer(op, "v", v, n, few)
	if d.err != nil {
		return
	}
	w := d.chooseAttention(hs, n)
	scale := float32(1 / math.Sqrt(float64(hs.Dh)))
	delta := d.scratchMemory(scratchAttentionDelta, 4*n*hs.H, false)
	d.expect(rowWork(2, n, wide))
	d.launch("attention_backward_delta", oneBlockPerRow(n), 128, 0, delta, hs.H, ab.p, ab.pitch, dab.p, dab.pitch, hs.H, hs.Dh)
	d.expect(d.attentionWork(hs, 3, 4*n*wide+2*n*few))
	d.launch("attention_backward_dq_"+w.suffix, w.queries, 128, w.shared, dqb.p, dqb.pitch, dab.p, dab.pitch, sb.p, sb.pitch, delta, hs.H,
		qb.p, qb.pitch, kb.p, vb.p, kb.pitch, w.list, hs.H, hs.K, hs.Dh, scale)
	d.expect(d.attentionWork(hs, 4, 2*n*wide+6*n*few))
	d.launch("attention_backward_dkv_"+w.suffix, w.keys, 128, w.shared, dkb.p, dvb.p, dkb.pitch, dab.p, dab.pitch, sb.p, sb.pitch, delta, hs.H,
		qb.p, qb.pitch, kb.p, vb.p, kb.pitch, w.list, hs.H, hs.K, hs.Dh, scale)
}
