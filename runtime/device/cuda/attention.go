//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// Attention: see device.Device.
func (d *Device) Attention(kind device.Phase, a, q device.Buffer, kv device.KVCache, hs device.AttentionShape, spans []device.Span) {
	ab, qb := a.(*buffer), q.(*buffer)
	d.begin("attention", ab.operand("a"), qb.operand("q"), cacheOperand(kv))
	if hs.H == 0 && hs.K == 0 && ab.cols+qb.cols == 0 {
		return
	}
	n := d.placeSpans(spans, kv)
	if d.err != nil {
		return
	}
	if n > ab.rows || n > qb.rows || ab.cols != hs.H*hs.Dh || qb.cols != ab.cols || ab.size != 2 || qb.size != 2 || hs.K < 1 || hs.H%hs.K != 0 {
		d.fail(fmt.Errorf("attention: want [%d %d], got a [%d %d], q [%d %d]", n, hs.H*hs.Dh, ab.rows, ab.cols, qb.rows, qb.cols))
		return
	}
	ab.dtype = qb.dtype
	cache := d.checkReserved("attention", kv, hs, spans)
	if cache == nil {
		return
	}
	if cache.dtype != qb.dtype {
		d.fail(fmt.Errorf("attention: want a cache of %v as q is, got %v", qb.dtype, cache.dtype))
		return
	}
	scale := float32(1 / math.Sqrt(float64(hs.Dh)) * math.Log2E)
	var expected work
	if d.recorder == nil {
		for _, s := range spans { // half of a prompt's own square is seen
			pairs := float64(s.Len) * (float64(s.Start) + float64(s.Len)/2)
			expected.flops += 4 * pairs * float64(hs.H*hs.Dh)
			expected.bytes += float64(s.Start+s.Len)*cache.positionBytes() + 4*float64(s.Len)*float64(hs.H*hs.Dh)
		}
	}
	d.expect(expected)
	if w := attentionPrefillWidth(hs.Dh); kind == device.Prefill && w > 0 {
		if d.info.Set == driver.SM90a && !cache.int8 {
			d.launch(fmt.Sprintf("attention_prefill_wgmma%d_%s", w, suffix(qb.dtype)), [3]int{min(d.queryTiles*hs.H, d.limits.sms), 1, 1}, attentionWGMMAThreads, attentionWGMMASharedBytes(w),
				ab.p, ab.pitch, qb.p, qb.pitch, cache.table.p, cache.maxPages, d.scratchMemory(scratchQueryTiles, 16*d.queryTiles, false), d.queryTiles, hs.H, hs.K, hs.Dh, scale)
			return
		}
		d.launch(fmt.Sprintf("attention_prefill_%s%d_%s", cache.kernelPart(), w, suffix(qb.dtype)), [3]int{d.queryTiles, hs.H, 1}, attentionPrefillThreads, attentionPrefillSharedBytes(w, cache.int8),
			ab.p, ab.pitch, qb.p, qb.pitch, cache.table.p, cache.maxPages, d.scratchMemory(scratchQueryTiles, 16*d.queryTiles, false), hs.H, hs.K, hs.Dh, scale)
		return
	}
	last := 0
	for _, s := range spans {
		last = max(last, s.Start+s.Len)
	}
	first := consecutiveSlots(spans)
	if d.recorder != nil { // slots may change between launches of the graph
		last, first = d.recorder.limit, -1
	}
	d.attentionDecode(ab, qb, cache, hs, scale, n, first, last)
}

// attentionDecode queues decode attention of n rows with positions below a number. first is
// the slot of the first row if the slots are consecutive, and otherwise -1.
func (d *Device) attentionDecode(ab, qb *buffer, cache *kvCache, hs device.AttentionShape, scale float32, n, first, positions int) {
	const maxRows = 128 // rows of a launch; bounds the partial results
	kernel := fmt.Sprintf("%s%d_%s", cache.kernelPart(), attentionDecodeWidth(hs.Dh), suffix(qb.dtype))
	for at := 0; at < n; at += maxRows {
		g := attentionDecodeGrid(hs, min(maxRows, n-at), positions)
		first := first
		if first >= 0 {
			first += at
		}
		partial := pointer(0)
		if g[0] > 1 {
			partial = d.scratchMemory(scratchPartials, g[0]*g[1]*g[2]*attentionPartialElements(hs)*4, false)
		}
		counters := d.scratchMemory(scratchCounters, g[1]*g[2]*4, true)
		args := []any{ab.row(at), ab.pitch, qb.row(at), qb.pitch, cache.table.p, cache.maxPages, d.rowPositions(n) + pointer(8*at)}
		name, how := "attention_decode_", []any{first}
		// There is no balanced kernel for wide heads at 8 bits: it would spill registers.
		if blocks := balancedAttentionBlocks(g, d.limits.sms); blocks > 0 && !(cache.int8 && attentionDecodeWidth(hs.Dh) == 128) {
			name, how = "attention_decode_balanced_", []any{g[2], g[0]}
			g = [3]int{blocks, g[1], 1}
		}
		args = append(append(args, how...), hs.H/hs.K, hs.K, hs.Dh, scale, partial, counters)
		d.launch(name+kernel, g, attentionDecodeThreads, attentionDecodeSharedBytes(hs.Dh, cache.int8), args...)
	}
}
