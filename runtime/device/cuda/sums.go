//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"github.com/x448/float16"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// HeadL1: see device.Device.
func (d *Device) HeadL1(sums []float64, a device.Buffer, n int, wo device.Weight, hs device.AttentionShape) {
	ab, w := a.(*buffer), wo.(*weight)
	d.begin("head sums", ab.operand("a"), w.operand("wo"))
	if !d.checkStored("head sums", w) {
		return
	}
	if n < 0 || n > ab.rows || ab.size != 2 || ab.cols != hs.H*hs.Dh || w.cols != ab.cols || len(sums) != hs.H || ab.dtype != w.dtype || w.int8 {
		d.fail(fmt.Errorf("head sums: want a [%d %d] and 16-bit weights, got [%d %d], wo %v, 8 bits: %v", n, hs.H*hs.Dh, ab.rows, ab.cols, w.shape, w.int8))
		return
	}
	if n == 0 || w.rows == 0 {
		return
	}
	each := 1
	if hs.Dh%8 == 0 {
		x, y := ceilDiv(w.rows, tile128x128.rows), ceilDiv(n, tile128x128.rows)
		each = x * y
		d.launch("head_sums_"+suffix(w.dtype), [3]int{x, y, hs.H}, tile128x128.threads, tile128x128.sharedBytes(),
			d.scratchMemory(scratchPartials, hs.H*each*4, false), ab.p, ab.pitch, w.p, w.pitch, w.rows, hs.Dh, n)
	} else {
		d.launch("head_sums_any_"+suffix(w.dtype), [3]int{hs.H, 1, 1}, 256, 64, d.scratchMemory(scratchPartials, hs.H*4, false), ab.p, ab.pitch, w.p, w.pitch, w.rows, hs.Dh, n)
	}
	out := d.scratchMemory(scratchSums, 8*hs.H, false)
	d.launch("reduce_head_sums", [3]int{hs.H, 1, 1}, 256, 64, out, d.scratchMemory(scratchPartials, hs.H*each*4, false), each)
	d.addDownloaded(sums, out)
}

// ColumnL1: see device.Device.
func (d *Device) ColumnL1(sums []float64, m device.Buffer, n int) {
	mb := m.(*buffer)
	d.begin("column sums", mb.operand("m"))
	if n < 0 || n > mb.rows || mb.size != 2 || len(sums) != mb.cols {
		d.fail(fmt.Errorf("column sums: want 16-bit [%d %d], got [%d %d]", n, len(sums), mb.rows, mb.cols))
		return
	}
	out := d.scratchMemory(scratchSums, 8*mb.cols, false)
	d.launch("column_sums_"+suffix(mb.dtype), [3]int{ceilDiv(mb.cols, 128), 1, 1}, 128, 0, out, mb.p, mb.pitch, mb.cols, n)
	d.addDownloaded(sums, out)
}

// addDownloaded adds numbers of the device to sums.
func (d *Device) addDownloaded(sums []float64, p pointer) {
	for i, s := range download[float64](d, p, len(sums)) {
		sums[i] += s
	}
}

// vocabTile is how many logits of each row are formed at a time: the part's
// weights are read once for all rows.
const vocabTile = 8192

// eachVocabTile forms the head's logits of some rows in parts of the vocabulary and calls
// each with the part's first id, its length, and where its logits lie, float32 of
// pitch vocabulary.
func (d *Device) eachVocabTile(h device.LMHead, hidden rows16, n int, z pointer, each func(base, count int)) {
	w := h.W.(*weight)
	for base := 0; base < w.rows; base += vocabTile {
		count := min(vocabTile, w.rows-base)
		d.linearRows(h.Phase, rows16{z, vocabTile}, hidden, n, w, base, count)
		each(base, count)
	}
}

// headHidden norms the given rows of a head's residual stream into memory of the device's
// own, kept under a name.
func (d *Device) headHidden(to scratchKind, h device.LMHead, rows pointer, n int) rows16 {
	x, g, w := h.X.(*buffer), h.Norm.(*weight), h.W.(*weight)
	if d.checkStored("head", g, w) && (w.cols != x.cols || g.rows != 1 || g.cols != x.cols || x.size != 4 || g.dtype != w.dtype) {
		d.fail(fmt.Errorf("head: want float32 x [%d %d] and weights of one type, got [%d %d], gain %v, w %v", x.rows, w.cols, x.rows, x.cols, g, w))
	}
	ld := rowPitch(x.cols)
	p := d.scratchMemory(to, n*ld*2, false)
	d.launch("rmsnorm_half_"+suffix(g.dtype), [3]int{n, 1, 1}, 256, 64, p, ld, x.p, x.pitch, rows, g.p, float32(h.Eps), x.cols)
	return rows16{p, ld}
}

// beginHead begins an operation on n rows of models' ends.
func (d *Device) beginHead(op string, n int, heads ...device.LMHead) {
	d.begin(op)
	for _, h := range heads {
		d.currentOperation.operands = append(d.currentOperation.operands, operand{name: "x", rows: n, cols: h.X.Cols()}, h.W.(*weight).operand("w"))
	}
}

// checkRows refuses rows that a head does not have.
func (d *Device) checkRows(h device.LMHead, rows []int) []int32 {
	list := make([]int32, len(rows))
	for i, r := range rows {
		if r < 0 || r >= h.X.Rows() {
			d.fail(fmt.Errorf("head: want a row below %d, got %d", h.X.Rows(), r))
		}
		list[i] = int32(r)
	}
	return list
}

// NLL: see device.Device.
func (d *Device) NLL(nll []float64, h device.LMHead, rows, targets []int) {
	n := len(rows)
	d.beginHead("nll", n, h)
	if len(targets) != n || len(nll) < n {
		d.fail(fmt.Errorf("nll: want an id and a place for each of %d rows, got %d and %d", n, len(targets), len(nll)))
		return
	}
	list := d.checkRows(h, rows)
	ids := make([]int32, n)
	for i, t := range targets {
		if t < 0 || t >= h.W.Shape()[0] {
			d.fail(fmt.Errorf("nll: want an id below %d, got %d", h.W.Shape()[0], t))
		}
		ids[i] = int32(t)
	}
	if d.err != nil || n == 0 {
		return
	}
	hidden := d.headHidden(scratchHeadHidden, h, uploadScratch(d, scratchRows, list), n)
	z, state, to := d.scratchMemory(scratchLogits, n*vocabTile*4, false), d.scratchMemory(scratchLossState, n*3*8, false), uploadScratch(d, scratchTargets, ids)
	d.eachVocabTile(h, hidden, n, z, func(base, count int) {
		d.launch("nll", [3]int{n, 1, 1}, 256, 128, state, z, vocabTile, count, base, to)
	})
	s := download[float64](d, state, 3*n)
	if d.err != nil {
		return
	}
	for i := range n {
		nll[i] = s[3*i] + math.Log(s[3*i+1]) - s[3*i+2]
	}
}

// CompareLogits: see device.Device.
func (d *Device) CompareLogits(out []device.Divergence, p, q device.LMHead, rows []int) {
	n := len(rows)
	d.beginHead("compare", n, p, q)
	if len(out) < n {
		d.fail(fmt.Errorf("compare: want a place for each of %d rows, got %d", n, len(out)))
	}
	if p.W.Shape()[0] != q.W.Shape()[0] {
		d.fail(fmt.Errorf("compare: want one vocabulary, got %d and %d", p.W.Shape()[0], q.W.Shape()[0]))
	}
	list := d.checkRows(p, rows)
	d.checkRows(q, rows)
	if d.err != nil || n == 0 {
		return
	}
	at := uploadScratch(d, scratchRows, list)
	hp, hq := d.headHidden(scratchHeadHidden, p, at, n), d.headHidden(scratchHeadHiddenQ, q, at, n)
	zp, zq, state := d.scratchMemory(scratchLogits, n*vocabTile*4, false), d.scratchMemory(scratchLogitsQ, n*vocabTile*4, false), d.scratchMemory(scratchLossState, n*10*8, false)
	d.eachVocabTile(p, hp, n, zp, func(base, count int) {
		d.linearRows(q.Phase, rows16{zq, vocabTile}, hq, n, q.W.(*weight), base, count)
		d.launch("compare", [3]int{n, 1, 1}, 256, 128, state, zp, zq, vocabTile, count, base)
	})
	s := download[float64](d, state, 10*n)
	if d.err != nil {
		return
	}
	for i := range n {
		v := s[10*i : 10*i+10]
		lp, lq := v[0]+math.Log(v[1]), v[3]+math.Log(v[4])
		out[i] = device.Divergence{KL: max(v[2]/v[1]-lp+lq, 0), Cosine: v[7] / math.Sqrt(v[5]*v[6]), SameArgmax: v[8] == v[9]}
	}
}

// Argmax: see device.Device.
func (d *Device) Argmax(ids []int, h device.LMHead, rows []int) {
	n := len(rows)
	d.beginHead("argmax", n, h)
	if len(ids) < n {
		d.fail(fmt.Errorf("argmax: want a place for each of %d rows, got %d", n, len(ids)))
	}
	list := d.checkRows(h, rows)
	if d.err != nil || n == 0 {
		return
	}
	V := h.W.Shape()[0]
	hidden := d.headHidden(scratchHeadHidden, h, uploadScratch(d, scratchRows, list), n)
	ldz := roundUp(V, 32)
	z := d.scratchMemory(scratchLogits, n*ldz*4, false)
	d.linearRows(h.Phase, rows16{z, ldz}, hidden, n, h.W.(*weight), 0, V)
	chosen := d.scratchMemory(scratchArgmaxTokens, 4*n, false)
	d.argmax(chosen, z, ldz, V, n, 0, 0, 0, 0)
	of := download[int32](d, chosen, n)
	if d.err != nil {
		return
	}
	for i, id := range of {
		ids[i] = int(id)
	}
}

// widen is a 16-bit number as float32.
func widen(b uint16, t checkpoint.DType) float32 {
	if t == checkpoint.F16 {
		return float16.Frombits(b).Float32()
	}
	return math.Float32frombits(uint32(b) << 16)
}
