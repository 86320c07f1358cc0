//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"mop/runtime/device"
)

// NLL: see device.Device.
func (d *Device) NLL(nll []float64, h device.LMHead, rows, targets []int) {
	n := len(rows)
	d.beginHead("nll", n, h)
	if len(targets) != n || len(nll) < n {
		d.fail(fmt.Errorf("nll: want a token and room for each of %d rows, got %d and %d", n, len(targets), len(nll)))
		return
	}
	list := d.checkRows(h, rows)
	tokens := make([]int32, n)
	for i, t := range targets {
		if t < 0 || t >= h.W.Shape()[0] {
			d.fail(fmt.Errorf("nll: want a token below %d, got %d", h.W.Shape()[0], t))
		}
		tokens[i] = int32(t)
	}
	if d.err != nil || n == 0 {
		return
	}
	hidden := d.headHidden(scratchHeadHidden, h, uploadScratch(d, scratchRows, list), n)
	z, state, to := d.scratchMemory(scratchLogits, n*vocabTile*4, false), d.scratchMemory(scratchLossState, n*3*8, false), uploadScratch(d, scratchTargets, tokens)
	d.eachVocabTile(h, hidden, n, z, func(base, count int) {
		d.launch("nll", [3]int{n, 1, 1}, 256, 128, state, z, vocabTile, count, base, to)
	})
	s := download[float64](d, state, 3*n)
	if d.err != nil {
		return
	}
	for i := range n {
		nll[i] = s[3*i] + math.Log(s[3*i+1]) - s[3*i+2]
	}
}

// CompareLogits: see device.Device.
func (d *Device) CompareLogits(out []device.Divergence, p, q device.LMHead, rows []int) {
	n := len(rows)
	d.beginHead("compare", n, p, q)
	if len(out) < n {
		d.fail(fmt.Errorf("compare: want room for each of %d rows, got %d", n, len(out)))
	}
	if p.W.Shape()[0] != q.W.Shape()[0] {
		d.fail(fmt.Errorf("compare: want one vocabulary, got %d and %d", p.W.Shape()[0], q.W.Shape()[0]))
	}
	list := d.checkRows(p, rows)
	d.checkRows(q, rows)
	if d.err != nil || n == 0 {
		return
	}
	at := uploadScratch(d, scratchRows, list)
	hp, hq := d.headHidden(scratchHeadHidden, p, at, n), d.headHidden(scratchHeadHiddenQ, q, at, n)
	zp, zq, state := d.scratchMemory(scratchLogits, n*vocabTile*4, false), d.scratchMemory(scratchLogitsQ, n*vocabTile*4, false), d.scratchMemory(scratchLossState, n*10*8, false)
	d.eachVocabTile(p, hp, n, zp, func(base, count int) {
		d.linearRows(q.Phase, rows16{zq, vocabTile}, hq, n, q.W.(*weight), base, count)
		d.launch("compare_logits", [3]int{n, 1, 1}, 256, 128, state, zp, zq, vocabTile, count, base)
	})
	s := download[float64](d, state, 10*n)
	if d.err != nil {
		return
	}
	for i := range n {
		v := s[10*i : 10*i+10]
		lp, lq := v[0]+math.Log(v[1]), v[3]+math.Log(v[4])
		out[i] = device.Divergence{KL: max(v[2]/v[1]-lp+lq, 0), Cosine: v[7] / math.Sqrt(v[5]*v[6]), SameArgmax: v[8] == v[9]}
	}
}
