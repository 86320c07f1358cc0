//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// Read copies rows to the host, widened.
func (d *Device) Read(dst []float32, b device.Buffer, row, n int) {
	s := b.(*buffer)
	d.begin("read", s.operand("buffer"))
	if row < 0 || n < 0 || row+n > s.rows || len(dst) < n*s.cols {
		d.fail(fmt.Errorf("read: want rows of [%d %d], got %d from %d", s.rows, s.cols, n, row))
		return
	}
	if n*s.cols == 0 {
		return
	}
	if s.size == 4 {
		all := download[float32](d, s.row(row), (n-1)*s.pitch+s.cols)
		for i := range n {
			copy(dst[i*s.cols:(i+1)*s.cols], all[i*s.pitch:])
		}
		return
	}
	all := download[uint16](d, s.row(row), (n-1)*s.pitch+s.cols)
	for i := range n {
		for j := range s.cols {
			dst[i*s.cols+j] = widen(all[i*s.pitch+j], s.dtype)
		}
	}
}

// Write copies rows from the host.
func (d *Device) Write(b device.Buffer, row int, src []float32) {
	s := b.(*buffer)
	if s.size != 4 || row < 0 || s.cols == 0 || len(src)%s.cols != 0 || row+len(src)/s.cols > s.rows {
		d.fail(fmt.Errorf("write: want rows of float32 [%d %d], got %d numbers from %d", s.rows, s.cols, len(src), row))
		return
	}
	d.begin("write", s.operand("buffer"))
	if d.err != nil || len(src) == 0 {
		return
	}
	if err := d.driver.Upload(s.row(row), 4*s.pitch, bytesOf(src), 4*s.cols); err != nil {
		d.fail(fmt.Errorf("%v: upload of rows of it from %d: %w", d.currentOperation, row, err))
	}
}

// Embed: see device.Device.
func (d *Device) Embed(x device.Buffer, table device.Weight, ids []int) {
	b, t := x.(*buffer), table.(*weight)
	d.begin("embed", b.operand("x"), t.operand("table"))
	if len(ids) > b.rows || b.cols != t.cols || b.size != 4 || len(t.shape) != 2 {
		d.fail(fmt.Errorf("embed: want float32, at most %d ids and width %d, got %d and %d", b.rows, b.cols, len(ids), t.cols))
		return
	}
	list := make([]int32, len(ids))
	for i, id := range ids {
		if id < 0 || id >= t.rows {
			d.fail(fmt.Errorf("embed: want an id below %d, got %d", t.rows, id))
			return
		}
		list[i] = int32(id)
	}
	args := []any{b.p, b.pitch, t.p, t.pitch, d.tokenInputs(list), b.cols}
	if t.int8 {
		d.launch("embedding_i8", [3]int{len(ids), 1, 1}, 256, 0, append(args, t.rows)...)
		return
	}
	d.launch("embedding_"+t.typeSuffix(), [3]int{len(ids), 1, 1}, 256, 0, args...)
}

// Norm: see device.Device.
func (d *Device) Norm(y, x device.Buffer, rows []int, w device.Weight, eps float64) {
	yb, xb, g := y.(*buffer), x.(*buffer), w.(*weight)
	d.begin("norm", yb.operand("y"), xb.operand("x"))
	if !d.checkStored("norm", g) {
		return
	}
	if len(rows) > yb.rows || yb.cols != xb.cols || g.rows != 1 || g.cols != xb.cols || yb.size != 4 || xb.size != 4 {
		d.fail(fmt.Errorf("norm: want float32 [%d %d] and gain [%d], got %d rows of [%d %d]", yb.rows, yb.cols, g.cols, len(rows), xb.rows, xb.cols))
		return
	}
	list := make([]int32, len(rows))
	for i, r := range rows {
		if r < 0 || r >= xb.rows {
			d.fail(fmt.Errorf("norm: want a row below %d, got %d", xb.rows, r))
			return
		}
		list[i] = int32(r)
	}
	d.launch("rmsnorm_float_"+suffix(g.dtype), [3]int{len(rows), 1, 1}, 256, 64, yb.p, yb.pitch, xb.p, xb.pitch, uploadScratch(d, scratchRows, list), g.p, float32(eps), xb.cols)
}

// rows16 is n rows of a 16-bit matrix.
type rows16 struct {
	p     pointer
	pitch int
}

// normalize is norm(x) of n rows, rounded, in memory of the device's own.
func (d *Device) normalize(x *buffer, rows pointer, n int, g *weight, eps float64) rows16 {
	ld := rowPitch(x.cols)
	h := d.scratchMemory(scratchHidden, n*ld*2, false)
	d.launch("rmsnorm_half_"+suffix(g.dtype), [3]int{n, 1, 1}, 256, 64, h, ld, x.p, x.pitch, rows, g.p, float32(eps), x.cols)
	return rows16{h, ld}
}

// roundTo16Bit is x as the input of a prefill product.
func (d *Device) roundTo16Bit(x *buffer, n int, t checkpoint.DType) rows16 {
	if x.size == 2 {
		return rows16{x.p, x.pitch}
	}
	ld := rowPitch(x.cols)
	h := d.scratchMemory(scratchHidden, n*ld*2, false)
	d.launch("cast_"+suffix(t), [3]int{n, 1, 1}, 256, 0, h, ld, x.p, x.pitch, x.cols)
	return rows16{h, ld}
}

// Linear: see device.Device.
func (d *Device) Linear(kind device.Phase, y, x device.Buffer, n int, w device.Weight) {
	d.linear(kind, y.(*buffer), x.(*buffer), n, w.(*weight), 0)
}

// AddLinear: see device.Device.
func (d *Device) AddLinear(kind device.Phase, x, a device.Buffer, n int, w device.Weight) {
	d.linear(kind, x.(*buffer), a.(*buffer), n, w.(*weight), 1)
}

func (d *Device) linear(kind device.Phase, y, x *buffer, n int, w *weight, add int) {
	d.begin("linear", y.operand("y"), x.operand("x"), w.operand("w"))
	if !d.checkStored("linear", w) {
		return
	}
	if n < 0 || n > y.rows || n > x.rows || y.cols != w.rows || x.cols != w.cols || y.size != 4 || x.size == 2 && x.dtype != w.dtype {
		d.fail(fmt.Errorf("linear: want y [%d %d], x [%d %d] of %v, got %d rows of y [%d %d], x [%d %d] of %v", n, w.rows, n, w.cols, w.dtype, n, y.rows, y.cols, x.rows, x.cols, x.dtype))
		return
	}
	if kind == device.Prefill {
		d.linearPrefill(rows16{y.p, y.pitch}, d.roundTo16Bit(x, n, w.dtype), n, w, 0, w.rows, add)
		return
	}
	form := 0
	if x.size == 4 {
		form = 1
	}
	d.launchGEMV("linear", w, ceilDiv(w.rows, 2), n, func(at, n int) []any {
		return []any{y.row(at), y.pitch, x.row(at), x.pitch, form, w.p, w.pitch, w.rows, w.cols, n, add, w.scales(0)}
	})
}

// linearRows is rows lo..lo+out-1 of w times n rows of x, with the kernels of a kind.
func (d *Device) linearRows(kind device.Phase, y, x rows16, n int, w *weight, lo, out int) {
	if kind == device.Prefill {
		d.linearPrefill(y, x, n, w, lo, out, 0)
		return
	}
	d.launchGEMV("linear", w, ceilDiv(out, 2), n, func(at, n int) []any {
		return []any{y.p + pointer(4*at*y.pitch), y.pitch, x.p + pointer(2*at*x.pitch), x.pitch, 0, w.row(lo), w.pitch, out, w.cols, n, 0, w.scales(lo)}
	})
}

// linearPrefill is the prefill product with rows lo..lo+out-1 of w; y is float32.
func (d *Device) linearPrefill(y, x rows16, n int, w *weight, lo, out, add int) {
	if d.usesTMA(w) {
		d.linearTMA(y, x, n, w, lo, out, add)
		return
	}
	t := chooseMMATile(n, out, d.limits)
	d.launch("linear_prefill_"+t.name+"_"+w.kernelSuffix(), t.grid(n, out), t.threads, t.sharedBytes(),
		y.p, y.pitch, x.p, x.pitch, w.row(lo), w.pitch, out, w.cols, n, add, w.scales(lo))
}

// launchGEMV queues an operation's product of n rows by pairs of rows of weights like w, in
// passes; args are the kernel's for n rows from at on.
func (d *Device) launchGEMV(op string, w *weight, pairs, n int, args func(at, n int) []any) {
	for at := 0; at < n; {
		p := chooseGEMV(d.info.Set, pairs, w.pitch, n-at, d.limits)
		if p.rows == 0 {
			d.fail(fmt.Errorf("rows of %d elements: want at most %d bytes of shared memory, got %d", w.pitch, d.limits.shared, p.shared))
			return
		}
		a := args(at, p.rows)
		if p.stages > 0 {
			a = append(a, p.stages)
		}
		d.launch(op+"_decode_"+p.variant+w.kernelSuffix(), [3]int{p.grid, 1, 1}, p.threads, p.shared, a...)
		at += p.rows
	}
}

// placeSpans uploads where the rows belong, once for all layers of a pass, and gives
// the number of rows.
func (d *Device) placeSpans(spans []device.Span) int {
	n := 0
	for _, s := range spans {
		if s.Start < 0 || s.Row < 0 || s.Len < 0 {
			d.fail(fmt.Errorf("%s: want spans of rows and positions from 0 on, got %+v", d.currentOperation.name, s))
			return 0
		}
		n = max(n, s.Row+s.Len)
	}
	if d.recorder != nil || slices.Equal(spans, d.placedSpans) {
		return n
	}
	d.placedSpans = append(d.placedSpans[:0], spans...)
	places := make([][2]int32, n)
	var queries [][4]int32
	for _, s := range spans {
		for i := range s.Len {
			places[s.Row+i] = [2]int32{int32(s.Seq), int32(s.Start + i)}
		}
		rows := attentionQueryRows(d.info.Set)
		for i := 0; i < s.Len; i += rows {
			queries = append(queries, [4]int32{int32(s.Row + i), int32(min(rows, s.Len-i)), int32(s.Start + i), int32(s.Seq)})
		}
	}
	// Those that see most come first, so that none of them is left when the others are done.
	slices.SortStableFunc(queries, func(a, b [4]int32) int { return int(b[1] + b[2] - a[1] - a[2]) })
	uploadScratch(d, scratchRowPositions, places)
	uploadScratch(d, scratchQueryTiles, queries)
	d.queryTiles = len(queries)
	return n
}

// QKV: see device.Device.
func (d *Device) QKV(kind device.Phase, q device.Buffer, kv device.KVCache, x device.Buffer, norm, wq, wk, wv device.Weight, eps float64, hs device.AttentionShape, rope device.RoPEFrequencies, spans []device.Span) {
	qb, xb, g := q.(*buffer), x.(*buffer), norm.(*weight)
	mq, mk, mv := wq.(*weight), wk.(*weight), wv.(*weight)
	d.begin("qkv", qb.operand("q"), xb.operand("x"), mq.operand("wq"), mk.operand("wk"), mv.operand("wv"))
	if !d.checkStored("qkv", g, mq, mk, mv) {
		return
	}
	if hs.H == 0 && hs.K == 0 && mq.rows+mk.rows+mv.rows+qb.cols == 0 {
		return // neither queries nor a place in the cache
	}
	n := d.placeSpans(spans)
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
	places := d.rowPositions(n)
	rest := func(at, n int) []any {
		return []any{hs.H, hs.K, hs.Dh, qb.row(at), qb.pitch, cache.table.p, cache.maxPages, places + pointer(8*at), turn, n}
	}
	rows := (hs.H + 2*hs.K) * hs.Dh
	if kind == device.Prefill {
		h := d.normalize(xb, 0, n, g, eps)
		if d.usesTMA(mq) {
			d.qkvTMA(h, n, xb.cols, mq, mk, mv, hs, rest(0, n))
			return
		}
		t := chooseMMATile(n, rows, d.limits)
		d.launch("qkv_prefill_"+t.name+"_"+mq.kernelSuffix(), t.grid(n, rows), t.threads, t.sharedBytes(),
			append([]any{h.p, h.pitch, xb.cols, mq.p, mk.p, mv.p, mq.pitch}, rest(0, n)...)...)
		return
	}
	d.launchGEMV("qkv", mq, rows/2, n, func(at, n int) []any {
		return append([]any{xb.row(at), xb.pitch, xb.cols, g.p, float32(eps), mq.p, mk.p, mv.p, mq.pitch}, rest(at, n)...)
	})
}

// Attention: see device.Device.
func (d *Device) Attention(kind device.Phase, a, q device.Buffer, kv device.KVCache, hs device.AttentionShape, spans []device.Span) {
	ab, qb := a.(*buffer), q.(*buffer)
	d.begin("attend", ab.operand("a"), qb.operand("q"), cacheOperand(kv))
	if hs.H == 0 && hs.K == 0 && ab.cols+qb.cols == 0 {
		return
	}
	n := d.placeSpans(spans)
	if d.err != nil {
		return
	}
	if n > ab.rows || n > qb.rows || ab.cols != hs.H*hs.Dh || qb.cols != ab.cols || ab.size != 2 || qb.size != 2 || hs.K < 1 || hs.H%hs.K != 0 {
		d.fail(fmt.Errorf("attend: want [%d %d], got a [%d %d], q [%d %d]", n, hs.H*hs.Dh, ab.rows, ab.cols, qb.rows, qb.cols))
		return
	}
	ab.dtype = qb.dtype
	cache := d.checkReserved("attend", kv, hs, spans)
	if cache == nil {
		return
	}
	if cache.dtype != qb.dtype {
		d.fail(fmt.Errorf("attend: want a cache of %v as q is, got %v", qb.dtype, cache.dtype))
		return
	}
	scale := float32(1 / math.Sqrt(float64(hs.Dh)) * math.Log2E)
	if w := attentionPrefillWidth(hs.Dh); kind == device.Prefill && w > 0 {
		if d.info.Set == driver.SM90a {
			d.launch(fmt.Sprintf("attention_prefill_wgmma%d_%s", w, suffix(qb.dtype)), [3]int{min(d.queryTiles*hs.H, d.limits.sms), 1, 1}, attentionWGMMAThreads, attentionWGMMASharedBytes(w),
				ab.p, ab.pitch, qb.p, qb.pitch, cache.table.p, cache.maxPages, d.scratchMemory(scratchQueryTiles, 16*d.queryTiles, false), d.queryTiles, hs.H, hs.K, hs.Dh, scale)
			return
		}
		d.launch(fmt.Sprintf("attention_prefill_%d_%s", w, suffix(qb.dtype)), [3]int{d.queryTiles, hs.H, 1}, attentionPrefillThreads, attentionPrefillSharedBytes(w),
			ab.p, ab.pitch, qb.p, qb.pitch, cache.table.p, cache.maxPages, d.scratchMemory(scratchQueryTiles, 16*d.queryTiles, false), hs.H, hs.K, hs.Dh, scale)
		return
	}
	last := 0
	for _, s := range spans {
		last = max(last, s.Start+s.Len)
	}
	first := consecutiveSlots(spans)
	if d.recorder != nil { // the rows' slots may change
		last, first = d.recorder.limit, -1
	}
	d.attentionDecode(ab, qb, cache, hs, scale, n, first, last)
}

// attentionDecode is decode attention of n rows, of sequences from first on (any, where it is
// -1), at positions below a number of them.
func (d *Device) attentionDecode(ab, qb *buffer, cache *kvCache, hs device.AttentionShape, scale float32, n, first, positions int) {
	const most = 128 // rows at a time: the parts stay small
	kernel := fmt.Sprintf("attention_decode_%d_%s", attentionDecodeWidth(hs.Dh), suffix(qb.dtype))
	for at := 0; at < n; at += most {
		g := attentionDecodeGrid(hs, min(most, n-at), positions)
		first := first
		if first >= 0 {
			first += at
		}
		partial := pointer(0)
		if g[0] > 1 {
			partial = d.scratchMemory(scratchPartials, g[0]*g[1]*g[2]*attentionPartialElements(hs)*4, false)
		}
		counters := d.scratchMemory(scratchCounters, g[1]*g[2]*4, true)
		d.launch(kernel, g, attentionDecodeThreads, attentionDecodeSharedBytes(hs.Dh),
			ab.row(at), ab.pitch, qb.row(at), qb.pitch, cache.table.p, cache.maxPages, d.rowPositions(n)+pointer(8*at), first, hs.H/hs.K, hs.K, hs.Dh, scale, partial, counters)
	}
}

// GateUp: see device.Device.
func (d *Device) GateUp(kind device.Phase, m, x device.Buffer, n int, norm, wg, wu device.Weight, eps float64) {
	mb, xb, g, gate, up := m.(*buffer), x.(*buffer), norm.(*weight), wg.(*weight), wu.(*weight)
	d.begin("gate-up", mb.operand("m"), xb.operand("x"), gate.operand("gate"), up.operand("up"))
	if !d.checkStored("gate-up", g, gate, up) {
		return
	}
	if n < 0 || n > mb.rows || n > xb.rows || g.rows != 1 || g.cols != xb.cols || mb.size != 2 || xb.size != 4 || mb.cols != gate.rows || up.rows != gate.rows || gate.cols != xb.cols || up.cols != xb.cols || up.dtype != gate.dtype || g.dtype != gate.dtype || up.int8 != gate.int8 {
		d.fail(fmt.Errorf("gate-up: want m [%d %d], x [%d %d] and one type, got norm %v, gate %v up %v, m [%d %d], x [%d %d]", n, gate.rows, n, gate.cols, g, gate, up, mb.rows, mb.cols, xb.rows, xb.cols))
		return
	}
	mb.dtype = gate.dtype
	if kind == device.Prefill {
		h := d.normalize(xb, 0, n, g, eps)
		if d.usesTMA(gate) {
			d.gateUpTMA(h, n, gate, up, mb)
			return
		}
		t := chooseMMATile(n, 2*gate.rows, d.limits)
		d.launch("gate_up_prefill_"+t.name+"_"+gate.kernelSuffix(), t.grid(n, 2*gate.rows), t.threads, t.sharedBytes(),
			h.p, h.pitch, xb.cols, gate.p, up.p, gate.pitch, gate.rows, mb.p, mb.pitch, n)
		return
	}
	d.launchGEMV("gate_up", gate, gate.rows, n, func(at, n int) []any {
		return []any{xb.row(at), xb.pitch, xb.cols, g.p, float32(eps), gate.p, up.p, gate.pitch, gate.rows, mb.row(at), mb.pitch, n}
	})
}
