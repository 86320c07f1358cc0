//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
	"mop/runtime/device/tolerance"
)

// shapes are the shapes that every kernel is tested with: 1, primes, pruned widths and head
// counts, head sizes 64, 128 and others, no heads, no neurons.
var shapes = []struct{ N, D, H, K, Dh, I int }{
	{1, 1, 1, 1, 2, 1},
	{3, 7, 2, 1, 6, 13},
	{2, 97, 3, 3, 10, 0},
	{5, 64, 0, 0, 0, 31},
	{9, 131, 8, 2, 64, 257},
	{17, 40, 24, 2, 8, 101},
	{6, 72, 29, 29, 128, 67},
	{70, 96, 4, 4, 128, 129},
	{67, 33, 2, 2, 136, 61},
	{2, 16, 1, 1, 2, 9941},
	{35, 8, 1, 1, 64, 10653},
	{3, 9941, 1, 1, 2, 2},
}

var types = []checkpoint.DType{checkpoint.BF16, checkpoint.F16}

// format is the storage of weights: 16 bits, or 8 bits with 16-bit activations.
type format struct {
	t     checkpoint.DType
	eight bool
}

func (f format) String() string {
	return fmt.Sprintf("%v%s", f.t, map[bool]string{true: " int8"}[f.eight])
}

// formats are the formats that every product is tested with.
var formats = []format{{checkpoint.BF16, false}, {checkpoint.F16, false}, {checkpoint.BF16, true}, {checkpoint.F16, true}}

// matrix returns random values that the format represents exactly.
func (f format) matrix(r *rand.Rand, rows, cols int) matrix {
	m := randomMatrix(r, rows, cols, f.t)
	if f.eight {
		m.round()
	}
	return m
}

// epsilon of the norms is large, so that an error in its use is visible.
const epsilon = 0.3

// each runs a test for every shape, format and thread order with the default set of kernels.
func each(t *testing.T, test func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, hs device.AttentionShape, I int)) {
	eachShapeOn(t, sets(t)[:1], test)
}

// eachShapeAndSet is like each, with every set of kernels.
func eachShapeAndSet(t *testing.T, test func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, hs device.AttentionShape, I int)) {
	eachShapeOn(t, sets(t), test)
}

var kinds = []device.Phase{device.Decode, device.Prefill}

func eachShapeOn(t *testing.T, sets []string, test func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, hs device.AttentionShape, I int)) {
	for i, s := range shapes {
		for j, f := range formats {
			for k, set := range sets {
				under := orders
				if s.N*s.H*s.Dh > 20000 {
					under = ordersOfLargeShape(i + j + k)
				}
				for _, o := range under {
					if testing.Short() && s.N*(s.D+s.I) > 4000 {
						continue
					}
					if f.eight && s.I > 5000 && o != orders[s.N%len(orders)] {
						continue // one order is enough: these are the same kernels with more rows
					}
					t.Run(fmt.Sprintf("%v/%v/%s/%d", s, f, set, o), func(t *testing.T) {
						d := openSet(t, o, set)
						test(t, d, rand.New(rand.NewPCG(uint64(s.D*1000+s.I), o)), f, s.N, s.D, device.AttentionShape{H: s.H, K: s.K, Dh: s.Dh}, s.I)
						if err := d.Sync(); err != nil {
							t.Error(err)
						}
					})
				}
			}
		}
	}
}

func normal(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(float32(r.NormFloat64()))
	}
	return v
}

func TestEmbedAndNorm(t *testing.T) {
	each(t, func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, _ device.AttentionShape, _ int) {
		dt := f.t
		table, gain := f.matrix(r, 5, D), randomMatrix(r, 1, D, dt)
		x := floats(t, d, N, D, make([]float64, N*D))
		tokens, rows := make([]int, N), make([]int, N)
		for i := range tokens {
			tokens[i], rows[i] = r.IntN(5), r.IntN(N)
		}
		d.Embed(x, table.place(t, d, false), tokens)
		for i, v := range read(d, x) {
			if want := table.row(tokens[i/D])[i%D]; v != float32(want) {
				t.Fatalf("embed: row %d, column %d: want %g, got %g", i/D, i%D, want, v)
			}
		}
		y := floats(t, d, N, D, make([]float64, N*D))
		d.Norm(y, x, rows, gain.place(t, d, true), epsilon)
		w, got := worst{what: "norm"}, read(d, y)
		for i := range N {
			from, sum := table.row(tokens[rows[i]]), 0.0
			for _, e := range from {
				sum += e * e
			}
			for j, e := range from {
				want := e / math.Sqrt(sum/float64(D)+epsilon) * gain.v[j]
				w.see(i, j, want, float64(got[i*D+j]), (9+math.Sqrt(float64(D)))*0x1p-24*math.Abs(want)+1e-30)
			}
		}
		w.report(t)
		zeroTails(t, d, "embed", x)
		zeroTails(t, d, "norm", y)
	})
}

// A captured step embeds row 0 for the token -1, which a step before it gives where there is
// no token. The result is not used, but the kernel must not read outside of the table.
func TestEmbedNegativeToken(t *testing.T) {
	for _, f := range formats {
		for _, o := range orders {
			const N, D = 3, 70
			d, r := open(t, o), rand.New(rand.NewPCG(4, o))
			table, x := f.matrix(r, 5, D), floats(t, d, N, D, nil)
			w := table.place(t, d, false)
			made, err := d.NewDecodeRows(N, N, 5)
			if err != nil {
				t.Fatal(err)
			}
			rows := made.(*decodeRows)
			d.uploadBytes(rows.tokensAt(), bytesOf([]int32{-1, 2, -1}), "tokens")
			d.recorder = &recorder{rows: rows, n: N}
			d.Embed(x, w, make([]int, N))
			calls := d.recorder.calls
			d.recorder = nil
			for _, c := range calls {
				if err := d.driver.Launch(c); err != nil {
					t.Fatal(err)
				}
			}
			for i, v := range read(d, x) {
				if want := float32(table.row([]int{0, 2, 0}[i/D])[i%D]); v != want {
					t.Fatalf("%v: row %d, column %d: want %g, got %g", f, i/D, i%D, want, v)
				}
			}
			if err := d.Sync(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Products of both phases, with and without adding, from 16-bit and float32 rows. A row gives
// the same bits alone and among others.
func TestLinear(t *testing.T) {
	eachShapeAndSet(t, func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, _ device.AttentionShape, I int) {
		checkLinear(t, d, r, f, N, D, I)
	})
}

// Long rows take many stages of the shared-memory pipelines in decode on sm_90a. They are
// tested in every format and thread order, with x in shared memory and with x in the stages.
func TestLinearLongRows(t *testing.T) {
	const D, I = 40, 5150
	for _, set := range sets(t) {
		for _, f := range formats {
			for _, o := range orders {
				for N, variant := range map[int]string{1: "pipeline_", 4: "batch8_", 8: "pipeline_", 9: "batch16_", 27: "batch32_", 40: "batch64_"} {
					if testing.Short() && N != 4 {
						continue
					}
					t.Run(fmt.Sprintf("%s/%v/%d/%d", set, f, N, o), func(t *testing.T) {
						d := openSet(t, o, set)
						if set != driver.SM90a {
							variant = ""
						}
						ld, size := rowPitch(I), 2
						if f.eight {
							ld, size = roundUp(I, 128), 1
						}
						if p := chooseGEMV(set, D/2, ld, size, N, d.limits); p.variant != variant {
							t.Fatalf("want the kernel %q, got %+v", variant, p)
						}
						checkLinear(t, d, rand.New(rand.NewPCG(uint64(N), o)), f, N, D, I)
						if err := d.Sync(); err != nil {
							t.Error(err)
						}
					})
				}
			}
		}
	}
}

// checkLinear compares the product of rows [N, I] by a matrix [D, I] with its formula.
func checkLinear(t *testing.T, d *Device, r *rand.Rand, f format, N, D, I int) {
	t.Helper()
	dt := f.t
	w, a := f.matrix(r, D, I), randomMatrix(r, N, I, dt)
	m, in := w.place(t, d, false), a.inner(t, d)
	start := normal(r, N*D)
	for _, kind := range kinds {
		y := floats(t, d, N, D, start)
		d.AddLinear(kind, y, in, N, m)
		zeroTails(t, d, kind.String()+" add", y)
		sum := worst{what: kind.String() + " add"}
		got := read(d, y)
		for i := range N {
			for j := range D {
				want, b := product(w.row(j), a.row(i), false)
				b.Magnitude += math.Abs(start[i*D+j])
				sum.see(i, j, want+start[i*D+j], float64(got[i*D+j]), b.Allow(want, dt))
			}
		}
		sum.report(t)
		wide := floats(t, d, N, I, a.v)
		d.Linear(kind, y, wide, N, m)
		plain := read(d, y)
		zeroTails(t, d, kind.String(), y)
		one := floats(t, d, 1, I, a.row(N-1))
		d.Linear(kind, y, one, 1, m)
		for j, v := range read(d, y)[:D] {
			if v != plain[(N-1)*D+j] {
				t.Fatalf("%v: row %d alone: column %d: want the same bits, got %g and %g", kind, N-1, j, plain[(N-1)*D+j], v)
			}
		}
		sum = worst{what: kind.String() + " of float32"}
		for i := range N {
			for j := range D {
				want, b := product(w.row(j), a.row(i), false)
				sum.see(i, j, want, float64(plain[i*D+j]), b.Allow(want, dt))
			}
		}
		sum.report(t)
	}
}

// A prefill product gives the same bits with every tile and thread order. 8-bit weights give
// the bits of 16-bit weights of the same integers times the scale, in a set that multiplies
// both with the same instruction.
func TestTilesGiveSameBits(t *testing.T) {
	const N, out, in = 83, 97, 331
	for _, dt := range types {
		set := slices.DeleteFunc(sets(t), func(s string) bool { return s == driver.SM90a })[0]
		r := rand.New(rand.NewPCG(1, 2))
		w := matrix{rows: out, cols: in, v: make([]float64, out*in), t: dt}
		scales := make([]float32, out)
		for i := range out {
			for j := range in {
				w.v[i*in+j] = float64(r.IntN(255) - 127)
			}
			w.v[i*in+r.IntN(in)] = 127
			scales[i] = float32(math.Ldexp(1, i%7-3))
		}
		a := randomMatrix(r, N, in, dt)
		scaled := w
		scaled.v = make([]float64, len(w.v))
		for i, v := range w.v {
			scaled.v[i] = v * float64(scales[i/in])
		}
		scaled.round()
		want, seen := map[int][]float32{}, map[string]bool{}
		for i := range 2 * len(orders) {
			d := openSet(t, orders[i/2], set)
			defer func(l deviceLimits) { d.limits = l }(d.limits)
			x, m, scale := a.inner(t, d), w.place(t, d, false), func(j int) float32 { return scales[j] }
			if i%2 == 1 {
				m, scale = scaled.place(t, d, false), func(int) float32 { return 1 }
			}
			for _, n := range []int{1, 16, 17, N} {
				for _, sms := range []int{1, 2, 3, 6, 10, 1000} {
					d.limits.sms = sms
					seen[chooseMMATile(n, out, d.limits).name] = true
					y := floats(t, d, n, out, nil)
					d.Linear(device.Prefill, y, x, n, m)
					for i, v := range read(d, y) {
						row, j := i/out, i%out
						v *= scale(j)
						if len(want[row]) == j {
							want[row] = append(want[row], v)
						} else if v != want[row][j] {
							t.Fatalf("%v, %d bytes: %d rows on %d SMs: at [%d %d] want the same bits, got %g and %g", dt, m.Bytes(), n, sms, row, j, want[row][j], v)
						}
					}
				}
			}
		}
		if len(seen) != len(mmaTiles) {
			t.Errorf("want all tiles tried, got %v", seen)
		}
	}
}

// Every tile of every product gives the same bits in every thread order. With integers the
// products are exact, so that each output is checked by its position.
func TestEveryTile(t *testing.T) {
	for _, set := range sets(t) {
		for _, f := range formats {
			list := &mmaTiles
			if set == driver.SM90a {
				list = &wgmmaTiles
			}
			if set == driver.SM90a && f.eight {
				continue // by the tiles of the others
			}
			t.Run(set+"/"+f.String(), func(t *testing.T) { everyTile(t, set, list, f) })
		}
	}
}

func everyTile(t *testing.T, set string, list *[]gemmTile, f format) {
	defer func(all []gemmTile) { *list = all }(*list)
	all := *list
	const N, D, I = 200, 131, 203
	hs := device.AttentionShape{H: 5, K: 1, Dh: 74} // a head's pairs do not fill their last eight
	rope := device.RoPEFrequencies{InvFreq: make([]float32, hs.Dh/2)}
	for i := range rope.InvFreq {
		rope.InvFreq[i] = float32(math.Pow(100, -float64(2*i)/float64(hs.Dh)))
	}
	r := rand.New(rand.NewPCG(1, 2))
	integers := func(m matrix) matrix {
		for i := range m.v {
			m.v[i] = float64(r.IntN(17) - 8)
		}
		return m
	}
	a, gain, x := integers(randomMatrix(r, N, I, f.t)), randomMatrix(r, 1, D, f.t), normal(r, N*D)
	var weights []matrix // down, wq, wk, wv, gate, up
	for i, s := range [][2]int{{D, I}, {hs.H * hs.Dh, D}, {hs.K * hs.Dh, D}, {hs.K * hs.Dh, D}, {I, D}, {I, D}} {
		m := randomMatrix(r, s[0], s[1], f.t)
		if i == 0 {
			m = integers(m)
		}
		if f.eight {
			m.round()
		}
		weights = append(weights, m)
	}
	type inputs struct {
		d    *Device
		w    []device.Weight
		gain device.Weight
		a    *buffer
	}
	var under []inputs // each order
	for _, o := range orders {
		d := openSet(t, o, set)
		p := inputs{d: d, gain: gain.place(t, d, true), a: a.inner(t, d)}
		for _, m := range weights {
			p.w = append(p.w, m.place(t, d, false))
		}
		under = append(under, p)
	}
	var want [][]float32
	for i, one := range all {
		*list = []gemmTile{one}
		for j, n := range []int{N, 83, 17, 1} {
			p := under[(i+j)%len(under)]
			d, w := p.d, p.w
			y, neurons, q, rows := floats(t, d, n, D, nil), emptyInner(t, d, n, I), emptyInner(t, d, n, hs.H*hs.Dh), floats(t, d, n, D, x[:n*D])
			d.Linear(device.Prefill, y, p.a, n, w[0])
			d.GateUp(device.Prefill, neurons, rows, n, p.gain, w[4], w[5], 1e-5)
			kv, err := d.NewKVCache(1, N, hs)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(kv.Free)
			if err := kv.Reserve(0, n); err != nil {
				t.Fatal(err)
			}
			d.QKV(device.Prefill, q, kv, rows, p.gain, w[1], w[2], w[3], 1e-5, hs, rope, []device.Span{{Len: n}})
			keys, values := readCache(d, kv)
			line := hs.K * roundUp(hs.Dh, 8)
			got := [][]float32{read(d, y), read(d, neurons), read(d, q), keys[:n*line], values[:n*line]}
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
				for i, v := range got[0] {
					if sum, _ := product(weights[0].row(i%D), a.row(i/D), false); !f.eight && v != float32(sum) {
						t.Fatalf("integers: at [%d %d] want %g, got %g", i/D, i%D, sum, v)
					}
				}
			}
			for i, v := range got {
				if !slices.Equal(v, want[i][:len(v)]) {
					t.Fatalf("result %d of %d rows by %s: want the same bits as with %s", i, n, one.name, all[0].name)
				}
			}
		}
	}
}

func TestGateUp(t *testing.T) {
	eachShapeAndSet(t, func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, _ device.AttentionShape, I int) {
		dt := f.t
		gate, up, gain := f.matrix(r, I, D), f.matrix(r, I, D), randomMatrix(r, 1, D, dt)
		x := normal(r, N*D)
		for _, kind := range kinds {
			m := emptyInner(t, d, N, I)
			d.GateUp(kind, m, floats(t, d, N, D, x), N, gain.place(t, d, true), gate.place(t, d, false), up.place(t, d, false), epsilon)
			zeroTails(t, d, kind.String(), m)
			w := worst{what: kind.String()}
			for i := range N {
				h := normRow(x[i*D:(i+1)*D], gain.v, epsilon, dt)
				got := make([]float32, I)
				d.Read(got, m, i, 1)
				for j := range I {
					g, bg := product(gate.row(j), h, true)
					u, bu := product(up.row(j), h, true)
					want := silu(g) * u
					// |silu'| <= 1.1, |silu(g)| <= |g|
					allow := 1.1*bg.Allow(g, dt)*math.Abs(u) + bu.Allow(u, dt)*(math.Abs(g)+1.1*bg.Allow(g, dt)) + 0x1p-21*math.Abs(want)
					w.see(i, j, want, float64(got[j]), allow+unit(dt)*(math.Abs(want)+allow)+0x1p-25)
				}
			}
			w.report(t)
		}
	})
}

// checkNoHeads checks a layer without heads: nothing is computed, and zero is added.
func checkNoHeads(t *testing.T, d *Device, r *rand.Rand, f format, N, D int) {
	gain, none, wo := randomMatrix(r, 1, D, f.t).place(t, d, true), f.matrix(r, 0, D).place(t, d, false), f.matrix(r, D, 0).place(t, d, false)
	start := normal(r, N*D)
	for _, kind := range kinds {
		kv, err := d.NewKVCache(1, 100, device.AttentionShape{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kv.Free)
		x, q, a, spans := floats(t, d, N, D, start), emptyInner(t, d, N, 0), matrix{rows: N, t: f.t}.inner(t, d), []device.Span{{Len: N}}
		d.QKV(kind, q, kv, x, gain, none, none, none, 1e-5, device.AttentionShape{}, device.RoPEFrequencies{}, spans)
		d.Attention(kind, a, q, kv, device.AttentionShape{}, spans)
		d.AddLinear(kind, x, a, N, wo)
		for i, v := range read(d, x) {
			if v != float32(start[i]) {
				t.Fatalf("%v: row %d, column %d: want %g as before, got %g", kind, i/D, i%D, start[i], v)
			}
		}
	}
}

// A pass over two sequences, one of which starts at a later position, then attention over the
// new and the earlier positions.
func TestQKVAndAttention(t *testing.T) {
	eachShapeAndSet(t, func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, hs device.AttentionShape, _ int) {
		if hs.H == 0 {
			checkNoHeads(t, d, r, f, N, D)
			return
		}
		H, K, Dh, dt := hs.H, hs.K, hs.Dh, f.t
		gain := randomMatrix(r, 1, D, dt)
		wq, wk, wv := randomMatrix(r, H*Dh, D, dt), f.matrix(r, K*Dh, D), f.matrix(r, K*Dh, D)
		for i := range wq.v { // scores of a size that attention can be told by
			wq.v[i] = round16(wq.v[i]/math.Sqrt(float64(D)), dt)
		}
		if f.eight {
			wq.round()
		}
		rope := device.RoPEFrequencies{InvFreq: make([]float32, Dh/2)}
		for i := range rope.InvFreq {
			rope.InvFreq[i] = float32(math.Pow(100, -float64(2*i)/float64(Dh)))
		}
		const capacity = 200
		x := normal(r, N*D)
		cut := N / 2
		spans := []device.Span{{Slot: 1, Start: 0, Row: 0, Len: N - cut}, {Slot: 0, Start: 90, Row: N - cut, Len: cut}}
		if cut == 0 {
			spans = spans[:1]
		}
		old := [2]matrix{randomMatrix(r, 90, K*Dh, dt), randomMatrix(r, 90, K*Dh, dt)} // keys and values of sequence 0
		for _, kind := range kinds {
			kv, err := d.NewKVCache(2, capacity, hs)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(kv.Free)
			for _, s := range spans {
				if err := kv.Reserve(s.Slot, s.Start+s.Len); err != nil {
					t.Fatal(err)
				}
			}
			fillCache(t, d, kv, 0, old)
			q := emptyInner(t, d, N, H*Dh)
			d.QKV(kind, q, kv, floats(t, d, N, D, x), gain.place(t, d, true), wq.place(t, d, false), wk.place(t, d, false), wv.place(t, d, false), epsilon, hs, rope, spans)
			zeroTails(t, d, kind.String()+" qkv", q)
			gq := read(d, q)
			gk, gv := readCache(d, kv)
			at := positionsOf(kv)
			w := worst{what: kind.String() + " qkv"}
			for i := range N {
				h := normRow(x[i*D:(i+1)*D], gain.v, epsilon, dt)
				seq, pos := slotAndPosition(spans, i)
				for part, m := range []matrix{wq, wk, wv} {
					for head := range m.rows / Dh {
						for j := range Dh / 2 {
							a, ba := product(m.row(head*Dh+j), h, true)
							b, bb := product(m.row(head*Dh+j+Dh/2), h, true)
							e := ba.Allow(a, dt) + bb.Allow(b, dt)
							if part < 2 {
								sin, cos := math.Sincos(float64(float32(pos) * rope.InvFreq[j]))
								a, b = a*cos-b*sin, b*cos+a*sin
							}
							for half, want := range []float64{a, b} {
								col := j + half*Dh/2
								var v float32
								switch part {
								case 0:
									v = gq[i*H*Dh+head*Dh+col]
								case 1:
									v = gk[at(seq, pos, head, col)]
								default:
									v = gv[at(seq, pos, head, col)]
								}
								allow := e + 0x1p-22*(math.Abs(a)+math.Abs(b))
								w.see(i, part*1000000+head*Dh+col, want, float64(v), allow+unit(dt)*(math.Abs(want)+allow))
							}
						}
					}
				}
			}
			w.report(t)

			checkAttention(t, d, kind, q, kv, hs, spans)
		}
	})
}

// positionsOf returns the index of an element in the slices that readCache returns.
func positionsOf(kv device.KVCache) func(seq, pos, head, i int) int {
	p := kv.(*kvCache)
	return func(seq, pos, head, i int) int {
		return ((seq*p.maxPages*pageSize+pos)*p.heads.K+head)*roundUp(p.heads.Dh, 8) + i
	}
}

// slotAndPosition returns the slot and position of row i of a pass.
func slotAndPosition(spans []device.Span, i int) (seq, pos int) {
	for _, s := range spans {
		if i >= s.Row && i < s.Row+s.Len {
			return s.Slot, s.Start + i - s.Row
		}
	}
	panic("no span")
}

// checkAttention compares attention with its formula on the stored values. A second call, which finds
// the first one's scratch, gives the same bits.
func checkAttention(t *testing.T, d *Device, kind device.Phase, q *buffer, kv device.KVCache, hs device.AttentionShape, spans []device.Span) {
	t.Helper()
	H, K, Dh, N, dt := hs.H, hs.K, hs.Dh, q.rows, q.dtype
	gq := read(d, q)
	gk, gv := readCache(d, kv)
	if kind == device.Prefill && isInt8(kv) && attentionPrefillWidth(Dh) > 0 { // rounded once more
		for _, v := range [][]float32{gk, gv} {
			for i := range v {
				v[i] = float32(round16(float64(v[i]), dt))
			}
		}
	}
	at := positionsOf(kv)
	a, again := emptyInner(t, d, N, H*Dh), emptyInner(t, d, N, H*Dh)
	d.Attention(kind, a, q, kv, hs, spans)
	d.Attention(kind, again, q, kv, hs, spans)
	zeroTails(t, d, kind.String()+" attention", a)
	ga := read(d, a)
	for i, v := range read(d, again) {
		if v != ga[i] {
			t.Fatalf("%v attention again: number %d: want the same bits, got %g and %g", kind, i, ga[i], v)
		}
	}
	w := worst{what: kind.String() + " attend"}
	for i := range N {
		seq, pos := slotAndPosition(spans, i)
		for head := range H {
			kh := head / (H / K)
			s, top := make([]float64, pos+1), math.Inf(-1)
			var es float64 // error of a score
			for p := range s {
				var sum float64
				for j := range Dh {
					term := float64(gq[i*H*Dh+head*Dh+j]) * float64(gk[at(seq, p, kh, j)])
					s[p] += term
					sum += math.Abs(term)
				}
				s[p] /= math.Sqrt(float64(Dh))
				top = max(top, s[p])
				es = max(es, tolerance.Sum{Magnitude: sum / math.Sqrt(float64(Dh)), Terms: Dh}.Allow(0, dt))
			}
			var total float64
			for p := range s {
				s[p] = math.Exp(s[p] - top)
				total += s[p]
			}
			for j := range Dh {
				var want, sum, values float64
				for p := range s {
					x := float64(gv[at(seq, p, kh, j)])
					v := s[p] / total * x
					want += v
					sum += math.Abs(v)
					values += math.Abs(x)
				}
				allow := sum * (2*es + 0x1p-18)
				if kind == device.Prefill { // the weights are rounded
					allow += sum * unit(dt) * 2
					if isInt8(kv) && dt == checkpoint.F16 { // small weights to multiples of 2^-24; the large one's value may be 0
						allow += values / total * 0x1p-25
					}
				}
				w.see(i, head*Dh+j, want, float64(ga[i*H*Dh+head*Dh+j]), allow+unit(dt)*(math.Abs(want)+allow)+0x1p-24)
			}
		}
	}
	w.report(t)
}

// checkLastRowAlone runs attention with only the last row of a prompt's pass, which has the same
// bits as in the whole pass.
func checkLastRowAlone(t *testing.T, d *Device, q matrix, kv device.KVCache, hs device.AttentionShape, spans []device.Span) {
	t.Helper()
	width, last := hs.H*hs.Dh, spans[len(spans)-1]
	all, alone := emptyInner(t, d, q.rows, width), emptyInner(t, d, 1, width)
	one := matrix{rows: 1, cols: q.cols, t: q.t, v: q.row(q.rows - 1)}
	d.Attention(device.Prefill, all, q.inner(t, d), kv, hs, spans)
	d.Attention(device.Prefill, alone, one.inner(t, d), kv, hs, []device.Span{{Slot: last.Slot, Start: last.Start + last.Len - 1, Len: 1}})
	want := read(d, all)[(q.rows-1)*width:]
	for i, v := range read(d, alone) {
		if v != want[i] {
			t.Fatalf("row %d alone: number %d: want the same bits, got %g and %g", q.rows-1, i, want[i], v)
		}
	}
}

// Attention over several pages with the largest score in the first page, in the last, or
// anywhere, so that the running softmax is rescaled in every way. Passes over few pages come
// between passes over many.
func TestAttentionPages(t *testing.T) {
	eachAttentionPages(t, []device.AttentionShape{{H: 2, K: 1, Dh: 64}, {H: 3, K: 3, Dh: 6}, {H: 10, K: 1, Dh: 16}, {H: 2, K: 2, Dh: 128}, {H: 1, K: 1, Dh: 136}}, openSet)
}

// eachAttentionPages checks attention over pages for shapes, types, sets and orders, on devices
// that open gives.
func eachAttentionPages(t *testing.T, shapes []device.AttentionShape, open func(t testing.TB, order uint64, set string) *Device) {
	t.Helper()
	for i, hs := range shapes {
		for k, dt := range types {
			for l, set := range sets(t) {
				for j, o := range ordersOfLargeShape(i + k + l) {
					if testing.Short() && k > 0 {
						continue
					}
					grow := [...]float64{-8, 0, 2}[(i+j+k+slices.Index(orders, o))%3]
					t.Run(fmt.Sprintf("%+v/%g/%v/%s/%d", hs, grow, dt, set, o), func(t *testing.T) { checkAttentionPages(t, open(t, o, set), hs, grow, dt, o) })
				}
			}
		}
	}
}

// The splits of a row depend only on its position: the row has the same bits alone, among
// others, and with the larger grid of a decode graph.
func TestAttentionSplits(t *testing.T) {
	for _, hs := range []device.AttentionShape{{H: 3, K: 1, Dh: 128}, {H: 2, K: 2, Dh: 64}} {
		for _, o := range orders {
			t.Run(fmt.Sprintf("%+v/%d", hs, o), func(t *testing.T) { checkAttentionSplits(t, open(t, o), hs) })
		}
	}
}

func checkAttentionSplits(t *testing.T, d *Device, hs device.AttentionShape) {
	r := rand.New(rand.NewPCG(uint64(hs.Dh), 5))
	turn := 8 * attentionDecodeWarpElements / hs.Dh // positions of a block's warps at a time
	positions := []int{2*turn - 1, 2 * turn, 5*turn + 17, 16*turn - 1, 16 * turn, 17*turn + 3}
	last := slices.Max(positions)
	kv, err := d.NewKVCache(1, last+1, hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	if err := kv.Reserve(0, last+1); err != nil {
		t.Fatal(err)
	}
	fillCache(t, d, kv, 0, [2]matrix{randomMatrix(r, last+1, hs.K*hs.Dh, checkpoint.BF16), randomMatrix(r, last+1, hs.K*hs.Dh, checkpoint.BF16)})
	cols := hs.H * hs.Dh
	all := randomMatrix(r, len(positions), cols, checkpoint.BF16)
	q, spans := all.inner(t, d), make([]device.Span, len(positions))
	for i, p := range positions {
		spans[i] = device.Span{Start: p, Row: i, Len: 1}
	}
	checkAttention(t, d, device.Decode, q, kv, hs, spans)
	// On few SMs blocks take several splits, on many one.
	have := d.limits
	defer func() { d.limits = have }()
	var want []float32
	for _, sms := range []int{1000, 1, 2, 7} {
		d.limits.sms = sms
		together := emptyInner(t, d, len(positions), cols)
		d.Attention(device.Decode, together, q, kv, hs, spans)
		got := read(d, together)
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("on %d SMs the rows have other bits than on 1000", sms)
		}
	}
	for i, p := range positions {
		q := matrix{rows: 1, cols: cols, v: all.row(i), t: all.t}.inner(t, d)
		alone, longer := emptyInner(t, d, 1, cols), emptyInner(t, d, 1, cols)
		d.Attention(device.Decode, alone, q, kv, hs, []device.Span{{Start: p, Len: 1}})
		longer.dtype = q.dtype
		d.attentionDecode(longer, q, kv.(*kvCache), hs, float32(1/math.Sqrt(float64(hs.Dh))*math.Log2E), 1, 0, 2*p+turn)
		for what, got := range map[string][]float32{"alone": read(d, alone), "with a longer row's grid": read(d, longer)} {
			if !slices.Equal(got, want[i*cols:(i+1)*cols]) {
				t.Errorf("position %d: a row %s has other bits than among others", p, what)
			}
		}
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// Rows of many lengths, whose splits fall to blocks in equal shares, have the bits that they have
// alone, however many blocks there are.
func TestAttentionBalanced(t *testing.T) { eachAttentionBalanced(t, openSet) }

func eachAttentionBalanced(t *testing.T, open func(t testing.TB, order uint64, set string) *Device) {
	t.Helper()
	for _, dh := range []int{64, 128} {
		for _, o := range orders {
			for _, dt := range types {
				t.Run(fmt.Sprint(dh, dt, o), func(t *testing.T) {
					checkAttentionBalanced(t, open(t, o, sets(t)[0]), device.AttentionShape{H: 2, K: 2, Dh: dh}, dt)
				})
			}
		}
	}
}

func checkAttentionBalanced(t *testing.T, d *Device, hs device.AttentionShape, dt checkpoint.DType) {
	r := rand.New(rand.NewPCG(uint64(hs.Dh), 6))
	turn := 8 * attentionDecodeWarpElements / hs.Dh
	positions := []int{5, 3*turn + 1, 0, turn, 2*turn - 1, 2 * turn, 17} // of splits 1 3 1 1 1 3 1
	kv, err := d.NewKVCache(len(positions), 4*turn, hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	kv.(*kvCache).dtype = dt
	cols := hs.H * hs.Dh
	all, spans := randomMatrix(r, len(positions), cols, dt), make([]device.Span, len(positions))
	for i, p := range positions {
		if err := kv.Reserve(i, p+1); err != nil {
			t.Fatal(err)
		}
		fillCache(t, d, kv, i, [2]matrix{randomMatrix(r, p+1, hs.K*hs.Dh, dt), randomMatrix(r, p+1, hs.K*hs.Dh, dt)})
		spans[i] = device.Span{Slot: i, Start: p, Row: i, Len: 1}
	}
	q := all.inner(t, d)
	checkAttention(t, d, device.Decode, q, kv, hs, spans)
	var want []float32
	for i, p := range positions {
		one := matrix{rows: 1, cols: cols, v: all.row(i), t: dt}.inner(t, d)
		a := emptyInner(t, d, 1, cols)
		d.Attention(device.Decode, a, one, kv, hs, []device.Span{{Slot: i, Start: p, Len: 1}})
		want = append(want, read(d, a)...)
	}
	have := d.limits
	defer func() { d.limits = have }()
	for _, sms := range []int{1, 2, 5, 9, 1000} { // 1000: one block for each split
		d.limits.sms = sms
		a := emptyInner(t, d, len(positions), cols)
		d.Attention(device.Decode, a, q, kv, hs, spans)
		if !slices.Equal(read(d, a), want) {
			t.Errorf("on %d SMs: rows have other bits than alone", sms)
		}
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

func checkAttentionPages(t *testing.T, d *Device, hs device.AttentionShape, grow float64, dt checkpoint.DType, seed uint64) {
	r := rand.New(rand.NewPCG(uint64(hs.Dh), seed))
	const long, short = 261, 70
	kv, err := d.NewKVCache(3, 300, hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	for seq, n := range map[int]int{0: short, 2: long} {
		if err := kv.Reserve(seq, n); err != nil {
			t.Fatal(err)
		}
		kv.(*kvCache).dtype = dt
		rows := [2]matrix{randomMatrix(r, n, hs.K*hs.Dh, dt), randomMatrix(r, n, hs.K*hs.Dh, dt)}
		for pos := range n {
			for j, v := range rows[0].row(pos) {
				rows[0].row(pos)[j] = round16(v*math.Exp(grow*float64(pos-n/2)/float64(n)), dt)
			}
		}
		fillCache(t, d, kv, seq, rows)
	}
	rows := 72
	if attentionPrefillWidth(hs.Dh) == 0 || attentionQueryRows(d.info.Set, false) > pageSize { // 128 rows at a time
		rows = 140
	}
	for _, spans := range [][]device.Span{
		{{Slot: 0, Start: short - 3, Row: 0, Len: 3}, {Slot: 2, Start: long - rows, Row: 3, Len: rows}},
		{{Slot: 0, Start: 5, Row: 0, Len: 2}},
		{{Slot: 2, Start: 126, Row: 0, Len: 3}, {Slot: 2, Start: 254, Row: 3, Len: 2}, {Slot: 0, Start: 0, Row: 5, Len: 1}},
	} {
		last := spans[len(spans)-1]
		q := randomMatrix(r, last.Row+last.Len, hs.H*hs.Dh, dt)
		for _, kind := range kinds {
			checkAttention(t, d, kind, q.inner(t, d), kv, hs, spans)
		}
		checkLastRowAlone(t, d, q, kv, hs, spans)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}
