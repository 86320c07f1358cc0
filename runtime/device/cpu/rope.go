package cpu

import (
	"math"
	"slices"

	"mop/runtime/device"
)

// rotate rotates the pairs (x[i], x[i+Dh/2]) of every head in x in place, by the angles
// whose cosines and sines are given.   x [heads*Dh], cos, sin [Dh/2]
func rotate(x []float32, dh int, cos, sin []float32) {
	half := dh / 2
	for ; len(x) >= dh; x = x[dh:] {
		a, b := x[:half:half], x[half:dh:dh]
		for i, c := range cos[:half] {
			s := sin[i]
			a[i], b[i] = a[i]*c-b[i]*s, b[i]*c+a[i]*s
		}
	}
}

// angles fills in the cosines and sines of pos*InvFreq. The angle is computed in float32,
// because the models were trained that way.   cos, sin [Dh/2]
func angles(cos, sin []float32, pos int, rope device.RoPEFrequencies) {
	for i, f := range rope.InvFreq {
		s, c := math.Sincos(float64(float32(pos) * f))
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// maxRoPETables is how many models with different frequencies have their tables cached.
const maxRoPETables = 4

// ropeTables caches the cosines and sines of the most recently used frequencies, the
// latest first. Tables are found by the values of the frequencies: the address of a
// freed slice may belong to another model's frequencies.
type ropeTables []*ropeTable

type ropeTable struct {
	invFreq []float32 // [Dh/2]
	cs      []float32 // [positions, Dh]: cosines, then sines
}

// find returns the table of some frequencies, which may be new and empty, and makes it the
// first one.
func (c *ropeTables) find(invFreq []float32) *ropeTable {
	for i, t := range *c {
		if slices.Equal(t.invFreq, invFreq) {
			copy((*c)[1:i+1], (*c)[:i])
			(*c)[0] = t
			return t
		}
	}
	t := &ropeTable{invFreq: slices.Clone(invFreq)}
	*c = slices.Insert(*c, 0, t)
	if len(*c) > maxRoPETables {
		(*c)[maxRoPETables] = nil
		*c = (*c)[:maxRoPETables]
	}
	return t
}

// ropeTable returns the cosines and sines of positions 0..n-1, and possibly of more.
func (d *Device) ropeTable(rope device.RoPEFrequencies, n int) *ropeTable {
	if len(rope.InvFreq) == 0 {
		return &ropeTable{}
	}
	t := d.ropes.find(rope.InvFreq)
	half := len(rope.InvFreq)
	have := len(t.cs) / (2 * half)
	if have >= n {
		return t
	}
	n = max(n, 2*have, 64)
	t.cs = append(t.cs, make([]float32, (n-have)*2*half)...)
	d.pool.run(n-have, 16, func(_, lo, hi int) {
		for p := have + lo; p < have+hi; p++ {
			angles(t.cs[2*p*half:(2*p+1)*half], t.cs[(2*p+1)*half:(2*p+2)*half], p, rope)
		}
	})
	return t
}

// at returns the cosines and sines of a position, [Dh/2] each.
func (t *ropeTable) at(pos int) (cos, sin []float32) {
	half := len(t.invFreq)
	row := t.cs[2*pos*half : 2*(pos+1)*half]
	return row[:half], row[half:]
}
