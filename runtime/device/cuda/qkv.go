//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

// QKV: see device.Device.
func (d *Device) QKV(kind device.Phase, q device.Buffer, kv device.KVCache, x device.Buffer, norm, wq, wk, wv device.Weight, eps float64, hs device.AttentionShape, rope device.RoPEFrequencies, spans []device.Span) {
	qb, xb, g := q.(*buffer), x.(*buffer), norm.(*weight)
	mq, mk, mv := wq.(*weight), wk.(*weight), wv.(*weight)
	d.begin("qkv", qb.operand("q"), xb.operand("x"), mq.operand("wq"), mk.operand("wk"), mv.operand("wv"))
	if !d.checkStored("qkv", g, mq, mk, mv) {
		return
	}
	if hs.H == 0 && hs.K == 0 && mq.rows+mk.rows+mv.rows+qb.cols == 0 {
		return // no heads: nothing to compute or to store
	}
	n := d.placeSpans(spans, kv)
	if d.err != nil {
		return
	}
	if hs.H*hs.Dh != mq.rows || hs.K*hs.Dh != mk.rows || hs.K*hs.Dh != mv.rows || qb.cols != mq.rows || mq.cols != xb.cols || mk.cols != xb.cols ||
		mv.cols != xb.cols || hs.Dh != 2*len(rope.InvFreq) || n > xb.rows || n > qb.rows || xb.size != 4 || qb.size != 2 || g.rows != 1 || g.cols != xb.cols || mk.dtype != mq.dtype || mv.dtype != mq.dtype || g.dtype != mq.dtype || mk.int8 != mq.int8 || mv.int8 != mq.int8 {
		d.fail(fmt.Errorf("qkv: want q [%d %d], x [%d %d] and one type, got norm %v, wq %v wk %v wv %v, q [%d %d], x [%d %d]", n, hs.H*hs.Dh, n, mq.cols, g, mq, mk, mv, qb.rows, qb.cols, xb.rows, xb.cols))
		return
	}
	last := 0
	for _, s := range spans {
		last = max(last, s.Start+s.Len)
	}
	if d.recorder != nil {
		last = d.recorder.limit
	}
	cache := d.checkReserved("qkv", kv, hs, spans)
	if cache == nil {
		return
	}
	if last > cache.maxPositions {
		d.fail(fmt.Errorf("qkv: want at most %d positions, got %d", cache.maxPositions, last))
		return
	}
	qb.dtype, cache.dtype = mq.dtype, mq.dtype
	turn := d.ropeTable(rope, max(last, min(cache.maxPositions, 4096)))
	table, pages, positions := cache.table.p, cache.maxPages, d.rowPositions(n)
	if cache.int8 {
		table, pages, positions, turn = d.stageKV(hs, n, turn)
		defer d.appendInt8(cache, table, n)
	}
	rest := func(at, n int) []any {
		return []any{hs.H, hs.K, hs.Dh, qb.row(at), qb.pitch, table, pages, positions + pointer(8*at), turn, n}
	}
	rows := (hs.H + 2*hs.K) * hs.Dh
	if kind == device.Prefill {
		h := d.normalize(xb, 0, n, g, eps)
		if d.usesTMA(mq) {
			d.qkvTMA(h, n, xb.cols, mq, mk, mv, hs, rest(0, n))
			return
		}
		t := chooseMMATile(n, rows, d.limits)
		d.expect(productWork(n, xb.cols, rows, t.rows, t.cols, mq.size, float64(2*n*rows)))
		d.launch("qkv_prefill_"+t.name+"_"+mq.kernelSuffix(), t.grid(n, rows), t.threads, t.sharedBytes(),
			append([]any{h.p, h.pitch, xb.cols, mq.p, mk.p, mv.p, mq.pitch}, rest(0, n)...)...)
		return
	}
	d.launchGEMV("qkv", mq, rows/2, n, gemvArguments{
		x:    func(at int) []any { return []any{xb.row(at), xb.pitch, xb.cols, g.p, float32(eps)} },
		half: func() rows16 { return d.normalize(xb, 0, n, g, eps) },
		output: func(at, n int) []any {
			return append([]any{mq.p, mk.p, mv.p, mq.pitch}, rest(at, n)...)
		},
	})
}
