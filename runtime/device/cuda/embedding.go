//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

// Embed: see device.Device.
func (d *Device) Embed(x device.Buffer, table device.Weight, tokens []int) {
	b, t := x.(*buffer), table.(*weight)
	d.begin("embed", b.operand("x"), t.operand("table"))
	if len(tokens) > b.rows || b.cols != t.cols || b.size != 4 || len(t.shape) != 2 {
		d.fail(fmt.Errorf("embed: want float32, at most %d tokens and width %d, got %d and %d", b.rows, b.cols, len(tokens), t.cols))
		return
	}
	list := make([]int32, len(tokens))
	for i, token := range tokens {
		if token < 0 || token >= t.rows {
			d.fail(fmt.Errorf("embed: want a token below %d, got %d", t.rows, token))
			return
		}
		list[i] = int32(token)
	}
	args := []any{b.p, b.pitch, t.p, t.pitch, d.tokenInputs(list), b.cols}
	if t.int8 {
		d.launch("embedding_i8", [3]int{len(tokens), 1, 1}, 256, 0, append(args, t.rows)...)
		return
	}
	d.launch("embedding_"+t.typeSuffix(), [3]int{len(tokens), 1, 1}, 256, 0, args...)
}
