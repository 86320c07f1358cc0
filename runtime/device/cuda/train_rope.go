//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"slices"

	"mop/runtime/device"
)

// uploadSpans uploads the tables of the spans of a pass, once for all layers: the position
// of every row in its span, the span's number and length, and the tiles of the spans. It
// returns the number of rows, 0 after a failure.
func (d *Device) uploadSpans(op string, spans []device.Span) int {
	n := 0
	for _, s := range spans {
		if s.Row < n || s.Len < 0 {
			d.fail(fmt.Errorf("%s: want spans one after the other, got %+v", op, spans))
			return 0
		}
		n = s.Row + s.Len
	}
	if d.err != nil || slices.Equal(spans, d.pass.spans) {
		return n
	}
	rows, positions := make([][2]int32, n), make([][2]int32, n)
	for i := range rows {
		rows[i] = [2]int32{-1, 0}
	}
	var tiles [][4]int32
	longest, covered := 0, 0
	for j, s := range spans {
		for i := range s.Len {
			rows[s.Row+i], positions[s.Row+i] = [2]int32{int32(i), int32(s.Len)}, [2]int32{int32(j), int32(i)}
		}
		covered += s.Len
		for i := 0; i < s.Len; i += attentionTileRows {
			tiles = append(tiles, [4]int32{int32(s.Row), int32(s.Len), int32(i)})
		}
		longest = max(longest, s.Len)
	}
	d.pass = spanTables{slices.Clone(spans), uploadScratch(d, scratchSpanRows, rows), uploadScratch(d, scratchSpanPositions, positions), uploadScratch(d, scratchSpanTiles, tiles), len(tiles), longest, covered}
	return n
}

// spanTables are the tables in device memory that describe the spans of a training pass.
type spanTables struct {
	spans       []device.Span
	rows        pointer // [N, 2] position and length
	positions   pointer // [N, 2] span and position
	tiles       pointer // [tiles, 4] first row, length, position
	tileCount   int     // of tiles
	longest     int     // span
	coveredRows int     // rows of spans
}

// RoPE: see device.Trainer.
func (d *Device) RoPE(x device.Buffer, dh int, rope device.RoPEFrequencies, spans []device.Span, back bool) {
	n := d.uploadSpans("rope", spans)
	b := d.float32Buffer("rope", "x", x, n, x.Cols())
	if d.err != nil {
		return
	}
	if dh < 2 || dh != 2*len(rope.InvFreq) || b.cols%dh != 0 {
		d.fail(fmt.Errorf("rope: want heads of width %d, got rows of %d, heads of %d", 2*len(rope.InvFreq), b.cols, dh))
		return
	}
	sign := float32(1)
	if back {
		sign = -1
	}
	d.expect(rowWork(2, n, b.cols))
	d.launch("rope", oneBlockPerRow(n), 128, 0, b.p, b.pitch, d.ropeTable(rope, roundUp(d.pass.longest, 256)), d.pass.rows, b.cols/dh, dh, sign)
}
