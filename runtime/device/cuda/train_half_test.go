//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/train"
)

// half makes a buffer of 16 bits beside w with the numbers of a float32 buffer, which are rounded
// there too.
func (p *devicePair) half(m *matrixPair, gradient bool, w device.Weight) *buffer {
	p.t.Helper()
	b, err := p.dev.OperandBuffer(m.dev.Rows(), m.cols, gradient, w)
	if err != nil || b == nil {
		p.t.Fatalf("want a buffer of 16 bits, got %v, %v", b, err)
	}
	h := b.(*buffer)
	x := m.dev.(*buffer)
	p.dev.launch("cast_"+suffix(h.dtype), [3]int{h.rows, 1, 1}, 256, 0, h.p, h.pitch, x.p, x.pitch, x.cols)
	p.dev.Write(x, 0, read(p.dev, h))
	return h
}

// Operands of 16 bits give the bits that float32 buffers of the same numbers give.
func TestTrainHalfOperands(t *testing.T) {
	for i, s := range []linearCase{{1, 1, 1, 1}, {37, 48, 31, 8}, {130, 29, 300, 3}, {97, 61, 530, 32}, {66, 40, 24, 0}} {
		for _, dt := range types {
			for _, set := range sets(t) {
				t.Run(fmt.Sprint(s, dt, set), func(t *testing.T) {
					p := newDevicePairOfSet(t, 17, orders[i%len(orders)], set)
					_, w, _, _ := p.weightPair(dt, s.out, s.in)
					x, dy := p.guardedMatrix(s.n, s.in, one), p.guardedMatrix(s.n, s.out, one)
					xs, dys := []device.Buffer{x.dev, p.half(x, false, w)}, []device.Buffer{dy.dev, dy.dev}
					if dt == checkpoint.BF16 {
						xs, dys = append(xs, xs[1]), append(dys, p.half(dy, true, w))
					} else if b, err := p.dev.OperandBuffer(1, 1, true, w); b != nil || err != nil {
						t.Errorf("want no buffer for gradients beside float16, got %v, %v", b, err)
					}
					a, b := p.plainMatrix(max(s.rank, 1), s.in, one), p.plainMatrix(s.out, max(s.rank, 1), one)
					var first [][]float32
					for j := range xs {
						y, u, dx := p.guardedMatrix(s.n, s.out, zero), p.guardedMatrix(s.n, max(s.rank, 1), zero), p.guardedMatrix(s.n, s.in, zero)
						da, db := p.plainMatrix(max(s.rank, 1), s.in, zero), p.plainMatrix(s.out, max(s.rank, 1), zero)
						var ad *device.Adapter
						inner := device.Buffer(nil)
						if s.rank > 0 {
							inner = u.dev
							ad = &device.Adapter{A: a.dev, B: b.dev, DA: da.dev, DB: db.dev, Scale: 0.7,
								Drop: device.Dropout{Probability: 0.3, Keys: []uint64{5}, Spans: []device.Span{{Len: s.n}}}}
						}
						p.dev.LinearForward(y.dev, inner, xs[j], s.n, w, ad, false)
						p.dev.LinearBackward(dx.dev, nil, dys[j], xs[j], inner, s.n, w, ad, false)
						var results [][]float32
						for k, m := range []*matrixPair{y, dx, u, da, db}[:2+3*min(s.rank, 1)] {
							results = append(results, p.deviceValues(fmt.Sprint("operands ", j, ", result ", k), m))
						}
						if first == nil {
							first = results
						}
						for k := range results {
							equal(t, fmt.Sprint("result ", k), first[k], results[k])
						}
					}
					if err := p.dev.Sync(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// The norm and the gate round to 16 bits what they write to float32 buffers.
func TestTrainHalfRows(t *testing.T) {
	for i := range len(types) * len(orders) {
		dt, order := types[i%len(types)], orders[i/len(types)]
		t.Run(fmt.Sprint(dt, order), func(t *testing.T) {
			const n, D = 5, 131
			p := newDevicePair(t, 19, order)
			_, gain := p.vector(dt, D)
			_, w, _, _ := p.weightPair(dt, 3, D)
			half := func(gradient bool) *buffer {
				b, err := p.dev.OperandBuffer(n, D, gradient, w)
				if err != nil {
					t.Fatal(err)
				}
				return b.(*buffer)
			}
			x, y, r, g := p.floats(n, D), p.floats(n, D), p.floats(n, 1), p.floats(n, D)
			same := func(what string, wide device.Buffer, h *buffer) {
				zeroTails(t, p.dev, what, h)
				want, got := read(p.dev, wide), read(p.dev, h)
				for i := range got {
					if rounded := float32(round16(float64(want[i]), dt)); math.Float32bits(rounded) != math.Float32bits(got[i]) {
						t.Fatalf("%s: number %d: want %v rounded, got %v", what, i, want[i], got[i])
					}
				}
			}
			normed, m := half(false), half(false)
			p.dev.NormForward(y.dev, r.dev, x.dev, n, gain, 1e-5)
			p.dev.NormForward(normed, r.dev, x.dev, n, gain, 1e-5)
			same("y", y.dev, normed)
			p.dev.SwiGLU(y.dev, g.dev, x.dev, n)
			p.dev.SwiGLU(m, g.dev, x.dev, n)
			same("m", y.dev, m)
			if dt == checkpoint.BF16 {
				dm, dg, du := p.floats(n, D), half(true), half(true)
				p.dev.SwiGLUBackward(dg, du, dm.dev, g.dev, x.dev, n)
				p.dev.SwiGLUBackward(dm.dev, y.dev, dm.dev, g.dev, x.dev, n)
				same("g'", dm.dev, dg)
				same("u'", y.dev, du)
			}
			if err := p.dev.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Operands of 16 bits are refused where an operation computes from float32.
func TestTrainRefusesHalfOperands(t *testing.T) {
	p := newDevicePair(t, 23, orders[0])
	_, w, _, _ := p.weightPair(checkpoint.BF16, 4, 8)
	_, w16, _, _ := p.weightPair(checkpoint.F16, 4, 8)
	_, full, _, _ := p.weightPair(checkpoint.F32, 4, 8)
	x, y, dw := p.guardedMatrix(3, 8, one), p.guardedMatrix(3, 4, one), p.plainMatrix(4, 8, zero)
	half := p.half(x, false, w)
	if b, err := p.dev.OperandBuffer(3, 8, false, w, w16); b != nil || err != nil {
		t.Errorf("two types: want no buffer, got %v, %v", b, err)
	}
	if b, err := p.dev.OperandBuffer(3, 8, false, full); b != nil || err != nil {
		t.Errorf("a parameter: want no buffer, got %v, %v", b, err)
	}
	for want, run := range map[string]func(){
		"linear forward: x: want float32 or the type of the weight":  func() { p.dev.LinearForward(y.dev, nil, half, 3, w16, nil, false) },
		"linear backward: w': want y' and x of float32, got 16 bits": func() { p.dev.LinearBackward(nil, dw.dev, y.dev, half, nil, 3, w, nil, false) },
		"swiglu backward: want g' and u' both of float32":            func() { p.dev.SwiGLUBackward(half, x.dev, x.dev, x.dev, x.dev, 3) },
		"linear backward: x: want float32 or the type of the weight": func() { p.dev.LinearBackward(nil, dw.dev, y.dev, half, nil, 3, full, nil, false) },
	} {
		run()
		if err := p.dev.Sync(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		p.dev.err = nil
	}
}

// Models train whose norms have another type than the rest.
func TestTrainMixedTypes(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/gqa-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	batch := []train.Sequence{{Tokens: []int{1, 5, 7, 9}, Labels: []int{5, 7, 9, -1}, Scale: 0.3}}
	isNorm := func(name string) bool { return strings.HasSuffix(name, "norm.weight") }
	losses := map[checkpoint.DType]float64{}
	for _, other := range []checkpoint.DType{checkpoint.F16, checkpoint.BF16, checkpoint.F32} {
		l := newTrainer(t, open(t, orders[0]), mixed{stored{src, checkpoint.F16}, other, isNorm}, train.Options{Rank: 2, Alpha: 2, Targets: checkpoint.Projections()})
		nll, err := l.ForwardBackward(batch)
		if err != nil {
			t.Fatalf("norms of %v: %v", other, err)
		}
		if losses[other] = nll[0]; math.Abs(nll[0]-losses[checkpoint.F16]) > 0.01*nll[0] {
			t.Errorf("norms of %v: want about the loss of float16, %v, got %v", other, losses[checkpoint.F16], nll[0])
		}
	}
}
