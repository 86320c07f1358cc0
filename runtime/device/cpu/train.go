package cpu

import (
	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

var _ device.Trainer = (*Device)(nil)

// training is the scratch memory that only training needs, grown on demand.
type training struct {
	dropped []float32 // an adapter's input after dropout [n, in]
	inner   []float32 // u' [n, rank]
	logits  []float32 // [lossRows, V]
}

// resizeScratch is s with n elements, contents undefined.
func resizeScratch(s *[]float32, n int) []float32 {
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

// OperandBuffer: see device.Trainer. Products take float32.
func (d *Device) OperandBuffer(int, int, bool, ...device.Weight) (device.Buffer, error) {
	return nil, nil
}

// Parameter: see device.Trainer.
func (d *Device) Parameter(b device.Buffer, vector bool) device.Weight {
	x := data(b)
	if vector {
		return &weight{shape: []int{x.rows * x.cols}, f32: x.data, gain: x.data}
	}
	return &weight{shape: []int{x.rows, x.cols}, f32: x.data}
}

// Gather: see device.Device.
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

// EmbedBackward: see device.Trainer.
func (d *Device) EmbedBackward(dtable, dx device.Buffer, tokens []int) {
	t, g := data(dtable), data(dx)
	d.pool.run(g.cols, 16, func(_, lo, hi int) {
		for n, token := range tokens {
			to, from := t.row(token)[lo:hi], g.row(n)[lo:hi]
			for j := range to {
				to[j] += from[j]
			}
		}
	})
}

// RoPE: see device.Trainer.
func (d *Device) RoPE(x device.Buffer, dh int, rope device.RoPEFrequencies, spans []device.Span, back bool) {
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

// gateBlock is how many gates are taken at a time.
const gateBlock = 1024

// SwiGLU: see device.Trainer.
func (d *Device) SwiGLU(m, g, u device.Buffer, n int) {
	mb, gb, ub := data(m), data(g), data(u)
	d.pool.run(n*mb.cols, gateBlock, func(_, lo, hi int) {
		var sigmoid [gateBlock]float32
		for ; lo < hi; lo += gateBlock {
			end := min(lo+gateBlock, hi)
			m, g, u := mb.data[lo:end], gb.data[lo:end], ub.data[lo:end]
			sigmoids(d.set, sigmoid[:], g)
			for i, z := range g {
				m[i] = z * sigmoid[i] * u[i]
			}
		}
	})
}

// SwiGLUBackward: see device.Trainer.
func (d *Device) SwiGLUBackward(dg, du, dm, g, u device.Buffer, n int) {
	dgb, dub, dmb, gb, ub := data(dg), data(du), data(dm), data(g), data(u)
	d.pool.run(n*gb.cols, gateBlock, func(_, lo, hi int) {
		var sigmoid [gateBlock]float32
		for ; lo < hi; lo += gateBlock {
			end := min(lo+gateBlock, hi)
			dg, du, dm, g, u := dgb.data[lo:end], dub.data[lo:end], dmb.data[lo:end], gb.data[lo:end], ub.data[lo:end]
			sigmoids(d.set, sigmoid[:], g)
			for i, z := range g {
				s, grad := sigmoid[i], dm[i]
				du[i] = grad * z * s
				dg[i] = grad * u[i] * s * (1 + z*(1-s))
			}
		}
	})
}

// sigmoids: s = 1 / (1 + exp(-z)).
func sigmoids(set kernel.Set, s, z []float32) {
	s = s[:len(z)]
	set.ExpScaled(s, z, -1, 0)
	for i, e := range s {
		s[i] = 1 / (1 + e)
	}
}
