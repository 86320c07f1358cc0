//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

// vocabTile is the number of logits of each row that are computed at a time. The weights of
// a tile are read once for all rows.
const vocabTile = 8192

// eachVocabTile computes the logits of n rows, one tile of the vocabulary at a time, into z
// (float32 [n, vocabTile]). After each tile it calls each with the tile's first token and
// its number of tokens.
func (d *Device) eachVocabTile(h device.LMHead, hidden rows16, n int, z pointer, each func(base, count int)) {
	w := h.W.(*weight)
	for base := 0; base < w.rows; base += vocabTile {
		count := min(vocabTile, w.rows-base)
		d.linearRows(h.Phase, rows16{z, vocabTile}, hidden, n, w, base, count)
		each(base, count)
	}
}

// headHidden writes the normed rows of a head's residual stream to scratch. rows is the
// address of the row numbers; 0 means the first n rows.
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

// beginHead begins an operation on n rows of one or more LM heads.
func (d *Device) beginHead(op string, n int, heads ...device.LMHead) {
	d.begin(op)
	for _, h := range heads {
		d.currentOperation.operands = append(d.currentOperation.operands, operand{name: "x", rows: n, cols: h.X.Cols()}, h.W.(*weight).operand("w"))
	}
}

// checkRows refuses rows that the head does not have and returns the others as int32.
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
