//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
)

// Losses against the host's: of one row and of more than are taken at a time, a
// vocabulary of 1 and odd ones, all types and sets; the losses alone are the same bits.
func TestCrossEntropy(t *testing.T) {
	for _, s := range []struct{ n, V, D int }{{1, 1, 3}, {3, 37, 8}, {300, 41, 24}, {67, 257, 65}, {2, 9941, 5}, {5, 7, 0}} {
		for i, dt := range slices.Repeat([]checkpoint.DType{checkpoint.BF16, checkpoint.F16, checkpoint.F32}, len(sets(t))) {
			set := sets(t)[i/3]
			var first [][]float32
			for _, order := range orders {
				if testing.Short() && s.n*s.V*s.D > 200000 {
					continue
				}
				t.Run(fmt.Sprint(s, dt, set, order), func(t *testing.T) {
					p := newDevicePairOfSet(t, 11, order, set)
					hw, dw, w, uw := p.weightPair(dt, s.V, s.D)
					x := p.guardedMatrix(s.n, s.D, func(i int) float64 { return 1 / math.Sqrt(float64(s.D)) })
					gx, gw := p.guardedMatrix(s.n, s.D, one), p.guardedMatrix(s.V, s.D, zero)
					targets, scale := make([]int, s.n), make([]float32, s.n)
					for i := range targets {
						targets[i], scale[i] = p.r.IntN(s.V), float32(p.r.Float64()*1e-6)
					}
					want, got := make([]float64, s.n), make([]float64, s.n)
					p.host.CrossEntropy(want, gx.host, gw.host, x.host, hw, targets, scale)
					p.dev.CrossEntropy(got, gx.dev, gw.dev, x.dev, dw, targets, scale)
					gotX, gotW := p.deviceValues("x'", gx), p.deviceValues("w'", gw)
					wantX, wantW := p.hostValues(gx), p.hostValues(gw)

					// A logit's error is at most errZ; a softmax of them is within 2 errZ of
					// itself.
					prob, errZ := make([]float64, s.n*s.V), make([]float64, s.n)
					for n := range s.n {
						z, sum := prob[n*s.V:(n+1)*s.V], 0.0
						for v := range z {
							var e roundingBound
							for k := range s.D {
								term := w[v*s.D+k] * float64(x.v[n*s.D+k])
								z[v] += term
								e.add(term, uw)
							}
							errZ[n] = max(errZ[n], e.allow()+0x1p-22*math.Abs(z[v]))
						}
						top := slices.Max(z)
						for v := range z {
							z[v] = math.Exp(z[v] - top)
							sum += z[v]
						}
						for v := range z {
							z[v] /= sum
						}
					}
					see := worst{what: "nll"}
					for n := range s.n {
						see.see(n, 0, want[n], got[n], 2*errZ[n]+1e-6)
					}
					see.report(t)
					slope := func(n, v int) (z, e float64) { // z' and what the softmax's error makes of it
						z = prob[n*s.V+v]
						e = z * (2*errZ[n] + 0x1p-19)
						if v == targets[n] {
							z--
						}
						return z * float64(scale[n]), e * float64(scale[n])
					}
					see = worst{what: "x'"}
					for n := range s.n {
						for k := range s.D {
							var e roundingBound
							for v := range s.V {
								z, dz := slope(n, v)
								e.add(z*w[v*s.D+k], uw)
								e.more += dz * math.Abs(w[v*s.D+k])
							}
							see.see(n, k, float64(wantX[n*s.D+k]), float64(gotX[n*s.D+k]), e.allow()+1e-12*float64(scale[n]))
						}
					}
					see.report(t)
					see = worst{what: "w'"}
					for v := range s.V {
						for k := range s.D {
							var e roundingBound
							for n := range s.n {
								z, dz := slope(n, v)
								e.add(z*float64(x.v[n*s.D+k]), splitUnit)
								e.more += dz * math.Abs(float64(x.v[n*s.D+k]))
							}
							see.see(v, k, float64(wantW[v*s.D+k]), float64(gotW[v*s.D+k]), e.allow())
						}
					}
					see.report(t)

					alone := make([]float64, s.n)
					p.dev.CrossEntropy(alone, nil, nil, x.dev, dw, targets, nil)
					if !slices.Equal(got, alone) {
						t.Error("the losses alone differ from those with gradients")
					}
					all := [][]float32{gotX, gotW}
					if first == nil {
						first = all
					}
					for i := range all {
						equal(t, fmt.Sprint("result ", i, " in another order"), first[i], all[i])
					}
					if err := p.dev.Sync(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}
