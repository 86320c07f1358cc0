package cpu

import (
	"math"

	kernel "mop/kernels/cpu"
	"mop/runtime/device"
)

// lossRows is how many rows of logits exist at a time, by the vocabulary alone:
// some 16 MB of them.
func lossRows(vocab int) int { return min(max(1<<22/vocab, 16), 256) }

// CrossEntropy: see device.Trainer.
func (d *Device) CrossEntropy(nll []float64, dx, dw, x device.Buffer, w device.Weight, targets []int, scale []float32) {
	m := asWeight(w)
	V, D := m.rowsCols()
	xb := data(x)
	z := resizeScratch(&d.train.logits, min(lossRows(V), len(targets))*V)
	for r0 := 0; r0 < len(targets); r0 += lossRows(V) {
		n := min(lossRows(V), len(targets)-r0)
		in := rowMajor(xb.data[r0*D:], D)
		d.product(z, V, n, V, D, in, m.view().transposed(), false)
		d.pool.run(n, 1, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				row, target := z[i*V:(i+1)*V], targets[r0+i]
				at := float64(row[target])
				nll[r0+i] = logSoftmax(d.set, row, scale, r0+i) - at
				if scale != nil {
					row[target] -= scale[r0+i]
				}
			}
		})
		if scale == nil {
			continue
		}
		d.product(data(dx).data[r0*D:], D, n, D, V, rowMajor(z, V), m.view(), false)
		if dw != nil {
			d.product(data(dw).data, D, V, D, n, rowMajor(z, V).transposed(), in, true)
		}
	}
}

// logSoftmax returns log sum exp of z and, with scale, replaces z by scale[i] times
// the probabilities.
func logSoftmax(set kernel.Set, z, scale []float32, i int) float64 {
	top := set.Max(z)
	set.ExpScaled(z, z, 1, top)
	var sum float64
	for _, e := range z {
		sum += float64(e)
	}
	if scale != nil {
		f := float32(float64(scale[i]) / sum)
		for j := range z {
			z[j] *= f
		}
	}
	return float64(top) + math.Log(sum)
}
