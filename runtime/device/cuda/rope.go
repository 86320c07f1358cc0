//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"slices"

	"mop/runtime/device"
)

// ropeTable is a RoPE cos/sin cache: cosines and sines of position times frequency.
type ropeTable struct {
	frequencies []float32 // [Dh/2]
	positions   int
	b           *buffer // f32 [positions, Dh/2, 2]
}

// ropeTable returns the address of the cache for some frequencies with at least a number of
// positions. Angles are computed in float32, as in the training of the models.
func (d *Device) ropeTable(rope device.RoPEFrequencies, positions int) pointer {
	i := slices.IndexFunc(d.ropeTables, func(t *ropeTable) bool { return slices.Equal(t.frequencies, rope.InvFreq) })
	if i < 0 {
		i = len(d.ropeTables)
		d.ropeTables = append(d.ropeTables, &ropeTable{frequencies: slices.Clone(rope.InvFreq)})
	}
	t := d.ropeTables[i]
	if t.b == nil || t.positions < positions {
		// Doubling keeps the number of uploads small while positions grow one by one.
		positions = max(positions, 2*t.positions)
		half := len(rope.InvFreq)
		cs := make([]float32, positions*half*2)
		for p := range positions {
			for i, f := range rope.InvFreq {
				sin, cos := math.Sincos(float64(float32(p) * f))
				at := (p*half + i) * 2
				cs[at], cs[at+1] = float32(cos), float32(sin)
			}
		}
		b, err := d.alloc(1, len(cs), len(cs), 4)
		if err != nil {
			d.fail(err)
			return 0
		}
		d.uploadBytes(b.p, bytesOf(cs), fmt.Sprintf("RoPE cache of %d positions", positions))
		if d.err != nil {
			b.Free()
			return 0
		}
		if t.b != nil {
			t.b.Free()
		}
		t.b, t.positions = b, positions
	}
	d.retain(t.b)
	return t.b.p
}
