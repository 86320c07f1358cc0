package cpu

import (
	"fmt"
	"unsafe"

	"mop/internal/hugepage"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// int8s is a matrix whose element (i, j) is data[i*cols+j] * scales[i].
type int8s struct {
	data   []int8    // [rows, cols]
	scales []float32 // [rows]
	cols   int
}

// PlaceInt8 makes a weight of a quarter to half the size: of a matrix, each row is
// scaled to its largest element and rounded to -127..127, in memory of the
// device's own. Activations stay float32. A vector is placed as it is.
func (d *Device) PlaceInt8(t checkpoint.Tensor) (device.Weight, error) {
	placed, err := d.Place(t)
	if err != nil || len(t.Shape) != 2 || len(t.Data) == 0 {
		return placed, err
	}
	from := stored(placed)
	n, c := from.rowsCols()
	raw := make([]byte, n*c)
	hugepage.Advise(raw)
	q := &int8s{unsafe.Slice((*int8)(unsafe.Pointer(&raw[0])), n*c), make([]float32, n), c}
	d.pool.run(n, 16, func(worker, lo, hi int) {
		tmp := d.temp(worker, c)
		for i := lo; i < hi; i++ {
			row := from.widen(d.set, tmp, i, c)
			q.scales[i] = device.RoundInt8(q.data[i*c:(i+1)*c], row)
		}
	})
	for i, s := range q.scales {
		if s-s != 0 {
			return nil, fmt.Errorf("%s: row %d: a weight is not finite", t.Name, i)
		}
	}
	return &weight{shape: t.Shape, i8: q}, nil
}
