//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"unsafe"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

var _ device.Int8 = (*Device)(nil)

// roundBytes bounds what of a matrix is uploaded at a time, to be rounded there.
const roundBytes = 64 << 20

// PlaceInt8 makes a weight of a matrix, rounded: on the device where it is stored in
// 16 bits, else on the host. Activations are of the 16-bit type that Place would give.
func (d *Device) PlaceInt8(t checkpoint.Tensor) (device.Weight, error) {
	if len(t.Shape) != 2 || len(t.Data) == 0 {
		return d.Place(t)
	}
	rows, cols := t.Shape[0], t.Shape[1]
	line := cols * t.DType.Size()
	if want := rows * line; len(t.Data) != want {
		return nil, fmt.Errorf("%s: want %d bytes for shape %v of %v, got %d", t.Name, want, t.Shape, t.DType, len(t.Data))
	}
	ld := roundUp(cols, 128)
	b, err := d.alloc(rows+ceilDiv(4*rows, ld), cols, ld, 1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	b.rows = rows
	if t.DType != checkpoint.F32 {
		d.half = t.DType
	}
	w := &weight{buffer: b, shape: t.Shape, eight: true}
	w.half = d.half
	part := max(1, min(rows, roundBytes/(4*ld)))
	var wide *buffer
	if t.DType != checkpoint.F32 {
		if wide, err = d.alloc(part, cols, pitch(cols), 2); err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	for at := 0; at < rows && d.err == nil; at += part {
		n := min(part, rows-at)
		from := t.Data[at*line : (at+n)*line]
		if wide == nil {
			d.roundOnHost(w, at, n, from)
			continue
		}
		d.fail(d.driver.Upload(wide.p, 2*wide.pitch, from, line))
		d.launch("round_i8_"+suffix(w.half), [3]int{ceilDiv(n, 8), 1, 1}, 256, 0, w.row(at), ld, w.scales(at), wide.p, wide.pitch, n, cols)
	}
	for i, s := range get[float32](d, w.scales(0), rows) {
		if s-s != 0 {
			return nil, fmt.Errorf("%s: row %d: a weight is not finite", t.Name, i)
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	return w, nil
}

// roundOnHost uploads rows of float32.
func (d *Device) roundOnHost(w *weight, at, n int, from []byte) {
	x := checkpoint.Floats(checkpoint.Tensor{DType: checkpoint.F32, Shape: []int{n, w.cols}, Data: from})
	q, scales := make([]int8, n*w.cols), make([]float32, n)
	for i := range n {
		scales[i] = device.RoundInt8(q[i*w.cols:(i+1)*w.cols], x[i*w.cols:(i+1)*w.cols])
	}
	d.fail(d.driver.Upload(w.row(at), w.pitch, unsafe.Slice((*byte)(unsafe.Pointer(&q[0])), len(q)), w.cols))
	if d.err == nil {
		d.fail(d.driver.Upload(w.scales(at), 4*n, raw(scales), 4*n))
	}
}

// widened gives matrices of one width as the kernels of prefill want them, rows of
// pitch ld; on = 1: they are integers whose scales follow them, in memory of the
// device's own.
func (d *Device) widened(ws ...*weight) (at []pointer, ld, on int) {
	if !ws[0].eight {
		for _, w := range ws {
			at = append(at, w.p)
		}
		return at, ws[0].pitch, 0
	}
	ld = pitch(ws[0].cols)
	size := func(w *weight) int { return roundUp(w.rows*(2*ld+4), 256) }
	total := 0
	for _, w := range ws {
		total += size(w)
	}
	p := d.need("wide", total, false)
	for _, w := range ws {
		at = append(at, p)
		d.widen(p, w, 0, w.rows, ld)
		p += pointer(size(w))
	}
	return at, ld, 1
}

// widen makes 16-bit integers of rows lo..lo+n-1, and their scales after them.
func (d *Device) widen(to pointer, w *weight, lo, n, ld int) {
	const accesses = 256 * 8 // of 16 elements, a block
	d.launch("widen_i8_"+suffix(w.half), [3]int{ceilDiv(n*ld/16, accesses), 1, 1}, 256, 0, to, ld, w.row(lo), w.pitch, w.scales(lo), n)
}
