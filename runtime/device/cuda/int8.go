//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// int8StagingBytes bounds the part of a matrix that is uploaded and quantized at a time.
const int8StagingBytes = 64 << 20

// placeInt8 quantizes a matrix to 8 bits with one scale for each row. 16-bit tensors are
// quantized on the device, others on the host. Activations have the 16-bit type that Place
// would choose.
func (d *Device) placeInt8(t checkpoint.Tensor) (device.Weight, error) {
	rows, cols := t.Shape[0], t.Shape[1]
	line := cols * t.DType.Size()
	if want := rows * line; len(t.Data) != want {
		return nil, fmt.Errorf("%s: want %d bytes for shape %v of %v, got %d", t.Name, want, t.Shape, t.DType, len(t.Data))
	}
	d.begin("place " + t.Name)
	ld := roundUp(cols, 128)
	b, err := d.alloc(rows+ceilDiv(4*rows, ld), cols, ld, 1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	b.rows = rows
	placed := false // false also if reading the tensor panics: see files.Catch
	defer func() {
		if !placed {
			b.Free()
		}
	}()
	w := &weight{buffer: b, shape: t.Shape, int8: true}
	d.begin("round "+t.Name, w.operand("w"))
	w.dtype = d.typeFor(t.DType)
	part := max(1, min(rows, int8StagingBytes/(4*ld)))
	var wide *buffer
	if t.DType != checkpoint.F32 {
		if wide, err = d.alloc(part, cols, rowPitch(cols), 2); err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		defer wide.Free()
	}
	for at := 0; at < rows && d.err == nil; at += part {
		n := min(part, rows-at)
		from := t.Data[at*line : (at+n)*line]
		if wide == nil {
			d.quantizeOnHost(w, at, n, from)
			continue
		}
		if err := d.driver.Upload(wide.p, 2*wide.pitch, from, line); err != nil {
			return nil, d.failWith(fmt.Errorf("%v: upload of rows from %d: %w", d.currentOperation, at, err))
		}
		d.launch("quantize_i8_"+suffix(t.DType), [3]int{ceilDiv(n, 8), 1, 1}, 256, 0, w.row(at), ld, w.scales(at), wide.p, wide.pitch, n, cols)
	}
	for i, s := range download[float32](d, w.scales(0), rows) {
		if s-s != 0 {
			return nil, fmt.Errorf("%s: row %d: a weight is not finite", t.Name, i)
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	placed = true
	return w, nil
}

// int8Index returns the index of column k in a row: see byte_place in kernels/cuda/types.cuh.
func int8Index(k int) int { return k&^14 | k&6<<1 | k&8>>2 }

// quantizeOnHost quantizes n float32 rows and uploads them, from row at on.
func (d *Device) quantizeOnHost(w *weight, at, n int, from []byte) {
	x := checkpoint.Float32s(checkpoint.Tensor{DType: checkpoint.F32, Shape: []int{n, w.cols}, Data: from})
	q, scales := make([]int8, w.cols), make([]float32, n)
	rows := make([]int8, n*w.pitch)
	for i := range n {
		scales[i] = device.QuantizeRow(q, x[i*w.cols:(i+1)*w.cols])
		for k, v := range q {
			rows[i*w.pitch+int8Index(k)] = v
		}
	}
	d.uploadBytes(w.row(at), bytesOf(rows), fmt.Sprintf("rows from %d", at))
	d.uploadBytes(w.scales(at), bytesOf(scales), fmt.Sprintf("scales from %d", at))
}
