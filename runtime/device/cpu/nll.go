package cpu

import (
	"math"

	"mop/runtime/device"
)

// headColumns is how many columns of the LM head are multiplied at a time. It is fixed, so
// that a sum of exponentials has the same order on any number of workers.
const headColumns = groupColumns

// NLL: see device.Device. A prefill pass computes the logits of all rows for headColumns
// tokens at a time and reduces them at once to their maximum and to the sum of their
// exponentials, so that [n, V] is never in memory. Consecutive equal rows are computed once.
func (d *Device) NLL(nll []float64, h device.LMHead, rows, targets []int) {
	if len(rows) == 0 {
		return
	}
	if h.Phase == device.Decode {
		d.decodeNLL(nll, h, rows, targets)
		return
	}
	distinct, of := distinctRows(rows)
	n, w := len(distinct), asWeight(h.W)
	V, D := w.rowsCols()
	x := d.shared.take(1, n*D)
	gain, from := asWeight(h.Norm).gain, data(h.X)
	d.pool.run(n, 8, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			normRow(d.set, x[i*D:(i+1)*D], from.row(distinct[i]), gain, h.Eps)
		}
	})
	head := w.view().transposed()
	l := d.packLeft(rowMajor(x, D), n, D, head)
	groups := (V + headColumns - 1) / headColumns
	partial := d.shared.take(2, 2*groups*n)
	tops, sums := partial[:groups*n], partial[groups*n:] // [groups, n]
	logits := d.shared.take(3, len(rows))                // of the targets
	d.pool.run(groups, 1, func(worker, lo, hi int) {
		for g := lo; g < hi; g++ {
			j0 := g * headColumns
			c := min(headColumns, V-j0)
			z := d.workers[worker].take(2, n*c)
			d.workers[worker].panels.multiply(d.set, z, c, l, 0, l.panels(), head, j0, j0+c, false)
			for i, target := range targets {
				if j := target - j0; j >= 0 && j < c {
					logits[i] = z[of[i]*c+j]
				}
			}
			for i := range n {
				row := z[i*c : (i+1)*c]
				top := d.set.Max(row)
				tops[g*n+i] = top
				sums[g*n+i] = d.sumExp(row, top)
			}
		}
	})
	lse := make([]float64, n)
	for i := range lse {
		lse[i] = combineSumExp(tops[i:], sums[i:], n, groups)
	}
	for i, row := range of {
		nll[i] = lse[row] - float64(logits[i])
	}
}

// sumExp is sum exp(z - top); z is overwritten. It is NaN if a logit is not finite, which
// the vector instructions for exp do not keep.
func (d *Device) sumExp(z []float32, top float32) float32 {
	check := d.set.Sum(z)
	check -= check // 0, or NaN where the sum is not finite
	d.set.ExpScaled(z, z, 1, top)
	return d.set.Sum(z) + check
}

// combineSumExp is the log of the sum of the exponentials of groups of logits, of which the
// maximum and the sum of the exponentials above it are given at every n-th place.
func combineSumExp(tops, sums []float32, n, groups int) float64 {
	top := math.Inf(-1)
	for g := range groups {
		top = max(top, float64(tops[g*n]))
	}
	sum := 0.0
	for g := range groups {
		sum += float64(sums[g*n]) * math.Exp(float64(tops[g*n])-top)
	}
	return top + math.Log(sum)
}

// distinctRows removes rows that are equal to the one before; of[i] is the place of rows[i]
// in distinct.
func distinctRows(rows []int) (distinct, of []int) {
	of = make([]int, len(rows))
	for i, r := range rows {
		if i == 0 || r != rows[i-1] {
			distinct = append(distinct, r)
		}
		of[i] = len(distinct) - 1
	}
	return distinct, of
}

// decodeNLL is NLL by the kernels of decode passes.
func (d *Device) decodeNLL(nll []float64, h device.LMHead, rows, targets []int) {
	d.logits(h, rows, func(at, n int, z *buffer) {
		d.pool.run(n, 1, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				nll[at+i] = logSumExp(z.row(i)) - float64(z.row(i)[targets[at+i]])
			}
		})
	})
}
