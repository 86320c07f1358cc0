//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// CrossEntropy: see device.Trainer. Rows of logits come a few at a time; their gradient
// is 16-bit where the weights are. In float16 the rows' scale is applied to the product.
func (d *Device) CrossEntropy(nll []float64, dx, dw, x device.Buffer, w device.Weight, targets []int, scale []float32) {
	const op = "cross entropy"
	m := d.matrixWeight(op, w)
	n, V, D := len(targets), m.rows, m.cols
	xb := d.float32Buffer(op, "x", x, n, D)
	var dxb, dwb *buffer
	if scale != nil {
		dxb = d.float32Buffer(op, "x'", dx, n, D)
		if dw != nil {
			dwb = d.float32Buffer(op, "w'", dw, V, D)
		}
	}
	if len(nll) < n || scale != nil && len(scale) < n {
		d.fail(fmt.Errorf("%s: want room and a scale for each of %d targets, got %d and %d", op, n, len(nll), len(scale)))
	}
	list := make([]int32, n)
	for i, t := range targets {
		if t < 0 || t >= V {
			d.fail(fmt.Errorf("%s: want a token below %d, got %d", op, V, t))
		}
		list[i] = int32(t)
	}
	if d.err != nil || n == 0 {
		return
	}
	most := min(lossRows(V), n)
	ldz, ldh := roundUp(V, 32), rowPitch(V)
	z, state := d.scratchMemory(scratchLogits, 4*most*ldz, false), d.scratchMemory(scratchLossState, 24*n, false)
	tokens, scales := uploadScratch(d, scratchTargets, list), uploadScratch(d, scratchLossScales, scale)
	in := d.activationOperand(m, xb.matrixRows(0, n))
	for r := 0; r < n; r += most {
		k := min(most, n-r)
		logits := matrixRows{z, ldz, k, V}
		d.multiply(logits, in.fromRow(r), m, adapterTerm{}, false)
		at, to := state+pointer(24*r), tokens+pointer(4*r)
		d.launch("nll", [3]int{k, 1, 1}, 256, 128, at, z, ldz, V, 0, to)
		if scale == nil {
			continue
		}
		by, out := scales+pointer(4*r), dxb.matrixRows(r, k)
		if !m.isParameter() {
			half, back := d.scratchMemory(scratchProductY, 2*most*ldh, false), pointer(0)
			top := float32(1)
			if m.dtype == checkpoint.F16 { // too narrow for the scale
				top, back = 1<<14, d.scratchMemory(scratchProductScale, 8*most, false)
			}
			d.launch("cross_entropy_half_"+suffix(m.dtype), [3]int{k, 1, 1}, 256, 0, half, ldh, back, z, ldz, V, at, to, by, top)
			d.multiplyTransposed(out, halfOperand{rows16{half, ldh}, V}, back, m, adapterTerm{}, false)
		}
		if m.isParameter() || dw != nil {
			d.launch("cross_entropy_float", [3]int{k, 1, 1}, 256, 0, z, ldz, V, at, to, by)
		}
		if m.isParameter() {
			d.multiplyTransposed(out, d.splitByColumns(scratchProductY, logits, false), 0, m, adapterTerm{}, false)
		}
		if dw != nil {
			d.addWeightGradient(dwb, logits, xb.matrixRows(r, k))
		}
	}
	s := download[float64](d, state, 3*n)
	if d.err != nil {
		return
	}
	for i := range n {
		nll[i] = s[3*i] + math.Log(s[3*i+1]) - s[3*i+2]
	}
}
