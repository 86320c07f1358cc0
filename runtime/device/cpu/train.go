package cpu

import (
	"math"

	"mop/runtime/device"
)

var _ device.Trainer = (*Device)(nil)

// training is the scratch memory that only training needs, grown on demand.
type training struct {
	panels  []*panels // one per worker
	dropped []float32 // an adapter's input after dropout [n, in]
	inner   []float32 // u' [n, rank]
	logits  []float32 // [lossRows, V]
}

// grown is s with n elements, contents undefined.
func grown(s *[]float32, n int) []float32 {
	if cap(*s) < n {
		*s = make([]float32, n)
	}
	return (*s)[:n]
}

// Write: see device.Trainer.
func (d *Device) Write(b device.Buffer, row int, src []float32) {
	copy(data(b).data[row*b.Cols():], src)
}

// Clear: see device.Trainer.
func (d *Device) Clear(b device.Buffer, n int) { clear(data(b).data[:n*b.Cols()]) }

// Copy: see device.Trainer.
func (d *Device) Copy(dst, src device.Buffer, n int) {
	copy(data(dst).data[:n*dst.Cols()], data(src).data)
}

// Parameter: see device.Trainer.
func (d *Device) Parameter(b device.Buffer, vector bool) device.Weight {
	x := data(b)
	if vector {
		return &weight{shape: []int{x.rows * x.cols}, f32: x.data}
	}
	return &weight{shape: []int{x.rows, x.cols}, f32: x.data}
}

// Gather: see device.Trainer.
func (d *Device) Gather(y, x device.Buffer, rows []int) {
	for i, r := range rows {
		copy(data(y).row(i), data(x).row(r))
	}
}

// Scatter: see device.Trainer.
func (d *Device) Scatter(y, x device.Buffer, rows []int) {
	for i, r := range rows {
		copy(data(y).row(r), data(x).row(i))
	}
}

// EmbedBack: see device.Trainer.
func (d *Device) EmbedBack(dtable, dx device.Buffer, ids []int) {
	t, g := data(dtable), data(dx)
	d.pool.run(g.cols, 16, func(_, lo, hi int) {
		for n, id := range ids {
			to, from := t.row(id)[lo:hi], g.row(n)[lo:hi]
			for j := range to {
				to[j] += from[j]
			}
		}
	})
}

// Rotate: see device.Trainer.
func (d *Device) Rotate(x device.Buffer, dh int, rope device.Rope, spans []device.Span, back bool) {
	b := data(x)
	for _, s := range spans {
		d.pool.run(s.Len, 8, func(worker, lo, hi int) {
			cs := d.temp(worker, dh)
			cos, sin := cs[:dh/2], cs[dh/2:]
			for i := lo; i < hi; i++ {
				angles(cos, sin, i, rope)
				if back {
					for j := range sin {
						sin[j] = -sin[j]
					}
				}
				rotate(b.row(s.Row+i), dh, cos, sin)
			}
		})
	}
}

// Gate: see device.Trainer.
func (d *Device) Gate(m, g, u device.Buffer, n int) {
	mb, gb, ub := data(m), data(g), data(u)
	d.pool.run(n*mb.cols, 1024, func(_, lo, hi int) {
		m, g, u := mb.data[lo:hi], gb.data[lo:hi], ub.data[lo:hi]
		for i, z := range g {
			m[i] = z * sigmoid(z) * u[i]
		}
	})
}

// GateBack: see device.Trainer.
func (d *Device) GateBack(dg, du, dm, g, u device.Buffer, n int) {
	dgb, dub, dmb, gb, ub := data(dg), data(du), data(dm), data(g), data(u)
	d.pool.run(n*gb.cols, 1024, func(_, lo, hi int) {
		dg, du, dm, g, u := dgb.data[lo:hi], dub.data[lo:hi], dmb.data[lo:hi], gb.data[lo:hi], ub.data[lo:hi]
		for i, z := range g {
			s, grad := sigmoid(z), dm[i]
			du[i] = grad * z * s
			dg[i] = grad * u[i] * s * (1 + z*(1-s))
		}
	})
}

func sigmoid(z float32) float32 { return 1 / (1 + exp32(-z)) }

// exp32 is exp in float32, to about one unit in the last place: x = n ln 2 + r,
// |r| <= ln 2 / 2, and a polynomial in r (Cephes, expf).
func exp32(x float32) float32 {
	switch {
	case x > 88.7:
		return float32(math.Inf(1))
	case x < -87.3:
		return 0
	case x != x:
		return x
	}
	z := x * 1.44269504
	n := int32(z + 0.5)
	if z < -0.5 {
		n = int32(z - 0.5)
	}
	f := float32(n)
	r := x - f*0.693359375 + f*2.12194440e-4
	p := ((((1.9875691500e-4*r+1.3981999507e-3)*r+8.3334519073e-3)*r+4.1665795894e-2)*r+1.6666665459e-1)*r + 5.0000001201e-1
	y := p*r*r + r + 1
	if n > 127 { // 2^128 is no float32
		return y * 2 * math.Float32frombits(uint32(n-1+127)<<23)
	}
	return y * math.Float32frombits(uint32(n+127)<<23)
}
