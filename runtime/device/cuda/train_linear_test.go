//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// matrixPair is one matrix or buffer on the host's device and on the one under test.
type matrixPair struct {
	rows, cols int
	v          []float32 // as written, those behind the rows included
	host, dev  device.Buffer
}

// guardedMatrix makes rows of normal numbers and some behind them, which must stay as they are;
// size gives row i's magnitude.
func (p *devicePair) guardedMatrix(rows, cols int, size func(i int) float64) *matrixPair {
	p.t.Helper()
	return p.matrixPair(rows, guardRows, cols, size)
}

// plainMatrix is numbers without rows behind.
func (p *devicePair) plainMatrix(rows, cols int, size func(i int) float64) *matrixPair {
	p.t.Helper()
	return p.matrixPair(rows, 0, cols, size)
}

func (p *devicePair) matrixPair(rows, spare, cols int, size func(i int) float64) *matrixPair {
	p.t.Helper()
	w := &matrixPair{rows: rows, cols: cols, v: make([]float32, (rows+spare)*cols)}
	for i := range w.v {
		if w.v[i] = guardValue; i < rows*cols {
			w.v[i] = float32(p.r.NormFloat64() * size(i/cols))
		}
	}
	for _, b := range []struct {
		to *device.Buffer
		d  device.Device
	}{{&w.host, p.host}, {&w.dev, p.dev}} {
		var err error
		if *b.to, err = b.d.Buffer(rows+spare, cols); err != nil {
			p.t.Fatal(err)
		}
		if len(w.v) > 0 {
			b.d.Write(*b.to, 0, w.v)
		}
	}
	return w
}

func one(int) float64  { return 1 }
func zero(int) float64 { return 0 }

// hostValues is what the host has.
func (p *devicePair) hostValues(w *matrixPair) []float32 {
	out := make([]float32, len(w.v))
	p.host.Read(out, w.host, 0, w.host.Rows())
	return out
}

// deviceValues is what the device has; what lies behind the rows and in their padding must
// be as it was.
func (p *devicePair) deviceValues(what string, w *matrixPair) []float32 {
	p.t.Helper()
	b := w.dev.(*buffer)
	all := download[float32](p.dev, b.p, b.rows*b.pitch)
	out := make([]float32, 0, len(w.v))
	for i := range b.rows {
		row := all[i*b.pitch : (i+1)*b.pitch]
		out = append(out, row[:w.cols]...)
		for j, v := range row[w.cols:] {
			if v != 0 {
				p.t.Fatalf("%s: row %d: wrote behind its end, at %d", what, i, w.cols+j)
			}
		}
	}
	for i := w.rows * w.cols; i < len(w.v); i++ {
		if out[i] != w.v[i] {
			p.t.Fatalf("%s: wrote behind its last row", what)
		}
	}
	return out[:w.rows*w.cols]
}

// copyToDevice makes the device's copy the host's.
func (p *devicePair) copyToDevice(w *matrixPair) {
	if len(w.v) > 0 {
		p.dev.Write(w.dev, 0, p.hostValues(w))
	}
}

// roundingBound bounds a sum whose terms hold operands that are rounded on their way:
// those errors are independent, and six of their deviations are allowed; the sum's
// own error is as in the table of reference_test.go.
type roundingBound struct {
	squares, sum, more float64
	terms              int
}

func (e *roundingBound) add(term, unit float64) {
	e.squares += term * term * unit * unit
	e.sum += math.Abs(term)
	e.terms++
}

func (e *roundingBound) allow() float64 {
	return 5*math.Sqrt(e.squares) + (8+math.Sqrt(float64(e.terms)))*0x1p-22*e.sum + e.more + 1e-30
}

// splitUnit is the error of a product of two float32 made of three of bfloat16.
const splitUnit = 0x1p-15

// weightPair is a matrix of a type, F32 being a parameter, on both devices.
func (p *devicePair) weightPair(t checkpoint.DType, rows, cols int) (host, dev device.Weight, v []float64, unitW float64) {
	if t == checkpoint.F32 {
		w := p.plainMatrix(rows, cols, one)
		for _, x := range w.v {
			v = append(v, float64(x))
		}
		return p.host.Parameter(w.host, false), p.dev.Parameter(w.dev, false), v, splitUnit
	}
	m := randomMatrix(p.r, rows, cols, t)
	host, err := p.host.Place(checkpoint.Tensor{Name: "w", DType: t, Shape: []int{rows, cols}, Data: m.bytes()}, device.PlaceOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	return host, m.place(p.t, p.dev, false), m.v, unit(t)
}

type linearCase struct{ n, out, in, rank int }

var linearCases = []linearCase{
	{1, 1, 1, 1}, {3, 5, 7, 2}, {37, 48, 31, 8}, {130, 29, 300, 3}, {7, 530, 97, 5}, {97, 61, 530, 32},
	{70, 131, 257, 70}, {65, 66, 64, 64}, {5, 0, 7, 2}, {5, 7, 0, 2}, {2, 9941, 3, 1}, {66, 40, 24, 0}, {9, 130, 66, 0},
}

// LinearForward and LinearBackward against the host's, over odd shapes, every type, every
// order of threads, tiles of both sizes: the same bits in all orders, and within the
// rounding of the operands of the host's. Rows of y' differ in size by far more than
// float16 holds.
func TestLinearForwardBackward(t *testing.T) {
	const bf = 0x1p-8
	panels := map[string]int{}
	all := wgmmaTiles
	defer func() { wgmmaTiles = all }()
	for i, s := range linearCases {
		for j, dt := range slices.Repeat([]checkpoint.DType{checkpoint.BF16, checkpoint.F16, checkpoint.F32}, len(sets(t))) {
			set := sets(t)[j/3]
			var first [][]float32
			for o, order := range orders {
				if testing.Short() && s.n*s.out*s.in > 200000 {
					continue
				}
				t.Run(fmt.Sprint(s, dt, set, order), func(t *testing.T) {
					p := newDevicePairOfSet(t, 11, order, set)
					have := p.dev.limits
					defer func() { p.dev.limits = have }()
					if set == driver.SM90a {
						wgmmaTiles = all[(2*o+i)%len(all):][:1] // another one in every order
					} else {
						for sms := range 200 { // as many as make the device choose the panel, if any do
							l := deviceLimits{sms: sms + 1, shared: have.shared}
							if c := chooseTrainTile(s.n, s.out, l); c == []trainTile{trainTile128x128, trainTile128x64, trainTile64x64}[o] {
								p.dev.limits = l
								panels[c.name]++
								break
							}
						}
					}
					drop := []float64{0, 0.3}[i%2]
					hw, dw, w, uw := p.weightPair(dt, s.out, s.in)
					x, y := p.guardedMatrix(s.n, s.in, one), p.guardedMatrix(s.n, s.out, one)
					dy := p.guardedMatrix(s.n, s.out, func(i int) float64 { return math.Ldexp(1, -7*(i%6)) })
					u, gw := p.guardedMatrix(s.n, max(s.rank, 1), one), p.guardedMatrix(s.out, s.in, zero)
					add, before := (i+2)%4 < 2, zero
					if !add { // x' is set, whatever was there
						before = one
					}
					gx := p.guardedMatrix(s.n, s.in, before)
					var host, dev *device.Adapter
					var a, b, ga, gb *matrixPair
					keep := 1.0
					if s.rank > 0 {
						a, b = p.plainMatrix(s.rank, s.in, one), p.plainMatrix(s.out, s.rank, one)
						ga, gb = p.plainMatrix(s.rank, s.in, zero), p.plainMatrix(s.out, s.rank, zero)
						host = &device.Adapter{A: a.host, B: b.host, DA: ga.host, DB: gb.host}
						dev = &device.Adapter{A: a.dev, B: b.dev, DA: ga.dev, DB: gb.dev}
						for _, ad := range []*device.Adapter{host, dev} {
							ad.Scale = 0.7
							ad.Drop = device.Dropout{Probability: drop, Keys: []uint64{11, 12}, Spans: []device.Span{{Row: 0, Len: s.n / 2}, {Row: s.n / 2, Len: s.n - s.n/2}}}
						}
						keep = 1 / (1 - drop)
					}
					hu, du := u.host, u.dev
					if s.rank == 0 {
						hu, du = nil, nil
					}

					p.host.LinearForward(y.host, hu, x.host, s.n, hw, host, i%3 > 0)
					p.dev.LinearForward(y.dev, du, x.dev, s.n, dw, dev, i%3 > 0)
					gotY, gotU := p.deviceValues("y", y), p.deviceValues("u", u)
					wantY, wantU := p.hostValues(y), p.hostValues(u)
					// What each error can grow to: u's, then y's.
					errU := make([]float64, s.n*s.rank)
					see := worst{what: "u"}
					for n := range s.n {
						for r := range s.rank {
							var e roundingBound
							for k := range s.in {
								e.add(keep*float64(a.v[r*s.in+k])*float64(x.v[n*s.in+k]), bf)
							}
							errU[n*s.rank+r] = e.allow()
							see.see(n, r, float64(wantU[n*s.rank+r]), float64(gotU[n*s.rank+r]), e.allow())
						}
					}
					see.report(t)
					see = worst{what: "y"}
					for n := range s.n {
						for j := range s.out {
							e := roundingBound{sum: math.Abs(float64(y.v[n*s.out+j]))}
							for k := range s.in {
								e.add(w[j*s.in+k]*float64(x.v[n*s.in+k]), uw)
							}
							for r := range s.rank {
								z := 0.7 * float64(b.v[j*s.rank+r])
								e.add(z*float64(wantU[n*s.rank+r]), bf)
								e.more += math.Abs(z) * errU[n*s.rank+r]
							}
							see.see(n, j, float64(wantY[n*s.out+j]), float64(gotY[n*s.out+j]), e.allow())
						}
					}
					see.report(t)

					p.copyToDevice(u)
					p.host.LinearBackward(gx.host, gw.host, dy.host, x.host, hu, s.n, hw, host, add)
					p.dev.LinearBackward(gx.dev, gw.dev, dy.dev, x.dev, du, s.n, dw, dev, add)
					gotX, gotW := p.deviceValues("x'", gx), p.deviceValues("w'", gw)
					wantX, wantW := p.hostValues(gx), p.hostValues(gw)
					dU, errDU := make([]float64, s.n*s.rank), make([]float64, s.n*s.rank)
					for n := range s.n {
						for r := range s.rank {
							var e roundingBound
							for j := range s.out {
								term := 0.7 * float64(dy.v[n*s.out+j]) * float64(b.v[j*s.rank+r])
								dU[n*s.rank+r] += term
								e.add(term, bf)
							}
							errDU[n*s.rank+r] = e.allow()
						}
					}
					see = worst{what: "x'"}
					for n := range s.n {
						for k := range s.in {
							var e roundingBound
							for j := range s.out {
								e.add(w[j*s.in+k]*float64(dy.v[n*s.out+j]), uw)
							}
							for r := range s.rank {
								v := keep * float64(a.v[r*s.in+k])
								e.add(v*dU[n*s.rank+r], bf)
								e.more += math.Abs(v) * errDU[n*s.rank+r]
							}
							see.see(n, k, float64(wantX[n*s.in+k]), float64(gotX[n*s.in+k]), e.allow())
						}
					}
					see.report(t)
					see = worst{what: "w'"}
					for j := range s.out {
						for k := range s.in {
							var e roundingBound
							for n := range s.n {
								e.add(float64(dy.v[n*s.out+j])*float64(x.v[n*s.in+k]), splitUnit)
							}
							see.see(j, k, float64(wantW[j*s.in+k]), float64(gotW[j*s.in+k]), e.allow())
						}
					}
					see.report(t)
					results := [][]float32{gotY, gotU, gotX, gotW}
					if s.rank > 0 {
						gotA, gotB := p.deviceValues("A'", ga), p.deviceValues("B'", gb)
						wantA, wantB := p.hostValues(ga), p.hostValues(gb)
						see = worst{what: "A'"}
						for r := range s.rank {
							for k := range s.in {
								var e roundingBound
								for n := range s.n {
									v := keep * float64(x.v[n*s.in+k])
									e.add(v*dU[n*s.rank+r], bf)
									e.more += math.Abs(v) * errDU[n*s.rank+r]
								}
								see.see(r, k, float64(wantA[r*s.in+k]), float64(gotA[r*s.in+k]), e.allow())
							}
						}
						see.report(t)
						see = worst{what: "B'"}
						for j := range s.out {
							for r := range s.rank {
								var e roundingBound
								for n := range s.n {
									e.add(0.7*float64(dy.v[n*s.out+j])*float64(wantU[n*s.rank+r]), bf)
								}
								see.see(j, r, float64(wantB[j*s.rank+r]), float64(gotB[j*s.rank+r]), e.allow())
							}
						}
						see.report(t)
						results = append(results, gotA, gotB)
					}
					if first == nil {
						first = results
					}
					for i := range results {
						equal(t, fmt.Sprint("result ", i, " in another order"), first[i], results[i])
					}
					if err := p.dev.Sync(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	if !testing.Short() && len(orders) > 2 && len(panels) < 3 {
		t.Errorf("want products of all three panels, got %v", panels)
	}
}

// equal holds two results to each other, bit for bit.
func equal(t *testing.T, what string, want, got []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
			t.Fatalf("%s: number %d: want the same bits, got %g and %g", what, i, want[i], got[i])
		}
	}
}

// The three dropout masks have the same bits as the host's: with identities for A and
// B, and ones for x and y', the results are the masks, at even and odd widths.
func TestDropoutMask(t *testing.T) {
	for _, in := range []int{64, 33, 70} {
		for i := range len(types) * len(orders) * len(sets(t)) {
			dt, order, set := types[i%len(types)], orders[i/len(types)%len(orders)], sets(t)[i/len(types)/len(orders)]
			t.Run(fmt.Sprint(in, dt, set, order), func(t *testing.T) {
				p := newDevicePairOfSet(t, 11, order, set)
				const n = 70
				drop := device.Dropout{Probability: 0.4, Keys: []uint64{0x123456789abcdef, 7, 1 << 63}, Spans: []device.Span{{Row: 0, Len: 31}, {Row: 31, Len: 1}, {Row: 32, Len: n - 32}}}
				if in == 70 {
					drop.Keys, drop.Spans = drop.Keys[:1], []device.Span{{Len: n}}
				}
				m := matrix{rows: in, cols: in, v: make([]float64, in*in), t: dt}
				hw, err := p.host.Place(checkpoint.Tensor{Name: "w", DType: dt, Shape: []int{in, in}, Data: m.bytes()}, device.PlaceOptions{})
				if err != nil {
					t.Fatal(err)
				}
				dw := m.place(t, p.dev, false)
				x, y, gy := p.guardedMatrix(n, in, zero), p.guardedMatrix(n, in, zero), p.guardedMatrix(n, in, zero)
				ones := make([]float32, n*in)
				for i := range ones {
					ones[i] = 1
				}
				u, gx := p.guardedMatrix(n, in, zero), p.guardedMatrix(n, in, zero)
				ad := []*matrixPair{p.plainMatrix(in, in, zero), p.plainMatrix(in, in, zero), p.plainMatrix(in, in, zero), p.plainMatrix(in, in, zero)}
				eye := make([]float32, in*in)
				for i := range in {
					eye[i*in+i] = 1
				}
				for _, d := range []device.Device{p.host, p.dev} {
					of := func(w *matrixPair) device.Buffer {
						if d == device.Device(p.dev) {
							return w.dev
						}
						return w.host
					}
					for _, w := range ad[:2] {
						d.Write(of(w), 0, eye)
					}
					d.Write(of(x), 0, ones)
					d.Write(of(gy), 0, ones)
				}
				host := &device.Adapter{A: ad[0].host, B: ad[1].host, DA: ad[2].host, DB: ad[3].host, Scale: 1, Drop: drop}
				dev := &device.Adapter{A: ad[0].dev, B: ad[1].dev, DA: ad[2].dev, DB: ad[3].dev, Scale: 1, Drop: drop}
				p.host.LinearForward(y.host, u.host, x.host, n, hw, host, false)
				p.dev.LinearForward(y.dev, u.dev, x.dev, n, dw, dev, false)
				p.host.LinearBackward(gx.host, nil, gy.host, x.host, u.host, n, hw, host, true)
				p.dev.LinearBackward(gx.dev, nil, gy.dev, x.dev, u.dev, n, dw, dev, true)
				dropped := 0
				want := p.hostValues(u)
				for _, v := range want[:n*in] {
					if v == 0 {
						dropped++
					}
				}
				if share := float64(dropped) / float64(n*in); math.Abs(share-drop.Probability) > 0.05 {
					t.Errorf("want a share of %v dropped, got %v", drop.Probability, share)
				}
				gotU, gotX := p.deviceValues("u", u), p.deviceValues("x'", gx)
				wantX := p.hostValues(gx)
				for i := range n * in {
					if want[i] != gotU[i] || wantX[i] != gotX[i] {
						t.Fatalf("row %d, column %d: want u %v and x' %v, got %v and %v", i/in, i%in, want[i], wantX[i], gotU[i], gotX[i])
					}
				}
				// A' is a sum over rows of what was kept: the counts agree.
				wantA, gotA := p.hostValues(ad[2]), p.deviceValues("A'", ad[2])
				for i := range wantA {
					if math.Abs(float64(wantA[i]-gotA[i])) > 1e-4 {
						t.Fatalf("A': row %d, column %d: want %v, got %v", i/in, i%in, wantA[i], gotA[i])
					}
				}
				if err := p.dev.Sync(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A row's bits depend on no other row: a sequence in a batch and alone.
func TestLinearIsTheSameInABatch(t *testing.T) {
	for i, dt := range slices.Repeat([]checkpoint.DType{checkpoint.BF16, checkpoint.F16, checkpoint.F32}, len(sets(t))) {
		set := sets(t)[i/3]
		t.Run(fmt.Sprint(dt, set), func(t *testing.T) {
			p := newDevicePairOfSet(t, 11, 2, set)
			const n, cut, out, in, rank = 131, 77, 70, 300, 5
			_, w, _, _ := p.weightPair(dt, out, in)
			x, y, u := p.guardedMatrix(n, in, one), p.guardedMatrix(n, out, zero), p.guardedMatrix(n, rank, zero)
			dy, dx := p.guardedMatrix(n, out, func(i int) float64 { return math.Ldexp(1, -i) }), p.guardedMatrix(n, in, zero)
			ad := &device.Adapter{A: p.plainMatrix(rank, in, one).dev, B: p.plainMatrix(out, rank, one).dev, DA: p.plainMatrix(rank, in, zero).dev, DB: p.plainMatrix(out, rank, zero).dev, Scale: 0.5}
			ad.Drop = device.Dropout{Probability: 0.2, Keys: []uint64{5, 6}, Spans: []device.Span{{Row: 0, Len: cut}, {Row: cut, Len: n - cut}}}
			p.dev.LinearForward(y.dev, u.dev, x.dev, n, w, ad, false)
			p.dev.LinearBackward(dx.dev, nil, dy.dev, x.dev, u.dev, n, w, ad, true)
			part := func(of *matrixPair, v []float32) *matrixPair {
				s := p.guardedMatrix(n-cut, of.cols, zero)
				p.dev.Write(s.dev, 0, v[cut*of.cols:n*of.cols])
				return s
			}
			x1, dy1 := part(x, x.v), part(dy, dy.v)
			y1, u1, dx1 := p.guardedMatrix(n-cut, out, zero), p.guardedMatrix(n-cut, rank, zero), p.guardedMatrix(n-cut, in, zero)
			ad.Drop.Keys, ad.Drop.Spans = []uint64{6}, []device.Span{{Row: 0, Len: n - cut}}
			p.dev.LinearForward(y1.dev, u1.dev, x1.dev, n-cut, w, ad, false)
			p.dev.LinearBackward(dx1.dev, nil, dy1.dev, x1.dev, u1.dev, n-cut, w, ad, true)
			for _, c := range []struct {
				what     string
				all, one *matrixPair
			}{{"y", y, y1}, {"u", u, u1}, {"x'", dx, dx1}} {
				equal(t, c.what, p.deviceValues(c.what, c.all)[cut*c.all.cols:], p.deviceValues(c.what, c.one))
			}
			if err := p.dev.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
}
