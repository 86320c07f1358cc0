package cpu

import (
	"fmt"
	"unsafe"

	"mop/internal/files"
	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// int8s is a matrix whose element (i, j) is data[i*stride+j] * scales[i]: see
// device.PlaceOptions. It meets activations of 16 bits, in groups with a scale of their own
// (kernels/cpu/int8.go), so that a product has the same bits in a prefill pass as in
// a decode pass, and on every set of kernels.
type int8s struct {
	data   []int8    // [rows, stride], zeros behind the columns
	scales []float32 // [rows]
	stride int       // kernel.Int8Row(columns)
}

// quantize rounds a matrix into memory of the device's own.
func (d *Device) quantize(name string, from *weight) (device.Weight, error) {
	n, c := from.rowsCols()
	stride := kernel.Int8Row(c)
	raw := make([]byte, n*stride)
	files.Advise(raw)
	q := &int8s{unsafe.Slice((*int8)(unsafe.Pointer(&raw[0])), n*stride), make([]float32, n), stride}
	d.pool.run(n, 16, func(worker, lo, hi int) {
		tmp := d.temp(worker, c)
		for i := lo; i < hi; i++ {
			row := from.widen(d.set, tmp, i, c)
			q.scales[i] = device.QuantizeRow(q.data[i*stride:i*stride+c], row)
		}
	})
	for i, s := range q.scales {
		if s-s != 0 {
			return nil, fmt.Errorf("%s: row %d: a weight is not finite", name, i)
		}
	}
	return &weight{shape: from.shape, i8: q}, nil
}
