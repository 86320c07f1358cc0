package cpu

import (
	"math"

	"mop/runtime/device"
)

// rotate turns the pairs (x[i], x[i+Dh/2]) of each of the heads in x by
// the angle whose cosine and sine are given, in place.
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

// angles fills cos and sin of pos*InvFreq; the angle is formed in float32, as
// the models were trained.   cos, sin [Dh/2]
func angles(cos, sin []float32, pos int, rope device.RoPEFrequencies) {
	for i, f := range rope.InvFreq {
		s, c := math.Sincos(float64(float32(pos) * f))
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// ropes remembers angles, by the frequencies that they come from.
type ropes map[*float32]*ropeTable

type ropeTable struct {
	rope device.RoPEFrequencies
	cs   []float32 // [positions, Dh]: cosines, then sines
}

// table has the angles of positions 0..n-1 at least.
func (d *Device) table(rope device.RoPEFrequencies, n int) *ropeTable {
	if len(rope.InvFreq) == 0 {
		return &ropeTable{}
	}
	if d.ropes == nil {
		d.ropes = ropes{}
	}
	t := d.ropes[&rope.InvFreq[0]]
	if t == nil {
		t = &ropeTable{rope: rope}
		d.ropes[&rope.InvFreq[0]] = t
	}
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

// at gives the cosines and sines of a position, [Dh/2] each.
func (t *ropeTable) at(pos int) (cos, sin []float32) {
	half := len(t.rope.InvFreq)
	row := t.cs[2*pos*half : 2*(pos+1)*half]
	return row[:half], row[half:]
}
