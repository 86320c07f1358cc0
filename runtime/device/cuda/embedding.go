//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

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
