package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// randomWeights remembers random weights by type and shape, for they take long to draw.
type randomWeights struct {
	raw   map[string][]byte
	round bool // activations, where weights are bfloat16
	int8  bool // matrices
}

func newRandomWeights() randomWeights { return randomWeights{raw: map[string][]byte{}} }

// place is a random weight of a type on a device, its deviation that of a layer
// whose outputs are of the size of its inputs.
func (ws randomWeights) place(t *testing.T, d *Device, dt checkpoint.DType, shape ...int) device.Weight {
	t.Helper()
	key := fmt.Sprint(dt, shape)
	if ws.raw[key] == nil {
		ws.raw[key] = randomBytes(dt, shape)
	}
	w, err := d.Place(checkpoint.Tensor{Name: "w", DType: dt, Shape: shape, Data: ws.raw[key]}, device.PlaceOptions{BF16Activations: ws.round, Int8: ws.int8})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func randomBytes(dt checkpoint.DType, shape []int) []byte {
	n := 1
	for _, s := range shape {
		n *= s
	}
	rng := rand.New(rand.NewPCG(uint64(n), uint64(dt)))
	raw := make([]byte, n*dt.Size())
	scale := 1 / math.Sqrt(float64(shape[len(shape)-1]))
	for i := range n {
		checkpoint.Encode(raw[i*dt.Size():], dt, float32(rng.NormFloat64()*scale))
	}
	return raw
}

func randomBuffer(seed uint64, rows, cols int) *buffer {
	rng := rand.New(rand.NewPCG(seed, uint64(rows*cols)))
	b := &buffer{make([]float32, rows*cols), rows, cols}
	for i := range b.data {
		b.data[i] = float32(rng.NormFloat64())
	}
	return b
}

// newCacheOf is a cache of whole sequences of so many positions, which are one after the other in
// keys and values.   keys, values [B*positions, K*Dh]
func newCacheOf(keys, values *buffer, positions int, hs device.AttentionShape) *kvCache {
	c := &kvCache{kind: checkpoint.F32, size: min(pageSize, positions), heads: hs.K, dh: hs.Dh, maxPositions: positions, slots: make([][]kvPage, keys.rows/positions)}
	for slot := range c.slots {
		if err := c.Reserve(slot, positions); err != nil {
			panic(err)
		}
		for i := range positions {
			c.store(slot, i, keys.row(slot*positions+i), values.row(slot*positions+i))
		}
	}
	return c
}

// outputs runs every operation of a layer with rows of activations in sequences
// of their own, and gives all that it made, row by row. The last row of each
// output is not written to and must come out as it was.
func (ws randomWeights) outputs(t *testing.T, d *Device, kind device.Phase, dt checkpoint.DType, n, D, I int, hs device.AttentionShape, from int) map[string][][]float32 {
	t.Helper()
	const context = 5
	out := map[string][][]float32{}
	keep := func(what string, b *buffer) {
		for i := range n {
			out[what] = append(out[what], b.row(i))
		}
		for _, v := range b.row(n) {
			if v != 3 {
				t.Fatalf("%s: wrote beyond %d rows", what, n)
			}
		}
	}
	guarded := func(cols int) *buffer { return guarded(n, cols) }
	x := &buffer{nil, n, D}
	for i := range n {
		x.data = append(x.data, randomBuffer(uint64(from+i), 1, D).data...)
	}
	gain := ws.place(t, d, dt, D)
	y := guarded(I)
	d.Linear(kind, y, x, n, ws.place(t, d, dt, I, D))
	keep("linear", y)
	sum := guarded(D)
	copy(sum.data, x.data)
	d.AddLinear(kind, sum, y, n, ws.place(t, d, dt, D, I))
	keep("add linear", sum)
	m := guarded(I)
	d.GateUp(kind, m, x, n, gain, ws.place(t, d, dt, I, D), ws.place(t, d, dt, I, D), 1e-5)
	keep("gate-up", m)
	if hs.H > 0 {
		nq, nk := hs.H*hs.Dh, hs.K*hs.Dh
		const positions = context + 1
		k, v := &buffer{nil, n * positions, nk}, &buffer{nil, n * positions, nk}
		rope := device.RoPEFrequencies{InvFreq: make([]float32, hs.Dh/2)}
		for i := range rope.InvFreq {
			rope.InvFreq[i] = float32(math.Pow(1e4, -float64(i)/float64(hs.Dh/2)))
		}
		var spans []device.Span
		for i := range n {
			k.data = append(k.data, randomBuffer(uint64(from+i), positions, nk).data...)
			v.data = append(v.data, randomBuffer(uint64(from+i)+99, positions, nk).data...)
			spans = append(spans, device.Span{Slot: i, Start: context, Row: i, Len: 1})
		}
		kv := newCacheOf(k, v, positions, hs)
		q, a := guarded(nq), guarded(nq)
		d.QKV(kind, q, kv, x, gain, ws.place(t, d, dt, nq, D), ws.place(t, d, dt, nk, D), ws.place(t, d, dt, nk, D), 1e-5, hs, rope, spans)
		keep("q", q)
		d.Attention(kind, a, q, kv, hs, spans)
		keep("attend", a)
	}
	return out
}

// agree compares two sets of outputs, bit by bit where the tolerance is 0.
func agree(t *testing.T, what string, want, got map[string][][]float32, tolerance float64) {
	t.Helper()
	for op, rows := range want {
		for i, row := range rows {
			var size float64
			for _, v := range row {
				size = max(size, math.Abs(float64(v)))
			}
			for j, v := range row {
				g := got[op][i][j]
				if tolerance == 0 && math.Float32bits(v) != math.Float32bits(g) || !(math.Abs(float64(v-g)) <= tolerance*size) {
					t.Fatalf("%s: %s: row %d of %d, element %d of %d: want %v, got %v, the row's largest is %v", what, op, i, len(rows), j, len(row), v, g, size)
				}
			}
		}
	}
}

// Every operation, over shapes that divide nothing: the fast kernels agree with
// the plain ones to rounding, prefill with decode likewise; at any number of
// threads, and for a row in a batch and alone, the bits are the same.
func TestAgreement(t *testing.T) {
	ws := newRandomWeights()
	best, err := kernel.Choose("auto")
	if err != nil {
		t.Fatal(err)
	}
	open := func(threads int, set kernel.Set) *Device {
		d, err := Open(Options{Threads: threads, Kernels: set.String()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		if d.set != set {
			t.Fatalf("want a device with kernels %v, got %v", set, d.set)
		}
		return d
	}
	shapes := []struct {
		n, D, I int
		hs      device.AttentionShape
	}{
		{1, 1, 1, device.AttentionShape{H: 1, K: 1, Dh: 2}},
		{3, 7, 13, device.AttentionShape{H: 3, K: 1, Dh: 6}},
		{13, 37, 53, device.AttentionShape{H: 6, K: 2, Dh: 8}},
		{5, 64, 131, device.AttentionShape{H: 29, K: 29, Dh: 64}},
		{2, 17, 9941, device.AttentionShape{}},
		{2, 10653, 19, device.AttentionShape{}},
		{50, 129, 600, device.AttentionShape{H: 4, K: 2, Dh: 128}},
	}
	for _, s := range shapes {
		for _, c := range []struct {
			dt    checkpoint.DType
			round bool
		}{{checkpoint.F32, false}, {checkpoint.F16, false}, {checkpoint.BF16, false}, {checkpoint.BF16, true}} {
			dt := c.dt
			ws.round = c.round
			// Sums of D or I products of size 1, halved errors at random signs.
			tolerance := 0x1p-24 * (16 + 4*math.Sqrt(float64(max(s.D, s.I))))
			if c.round {
				// Norms and products differ in their last bit, which now and then
				// rounds a product's input the other way.
				tolerance += 0x1p-8 * 4 / math.Sqrt(float64(min(s.D, s.I)))
			}
			var plain map[string][][]float32
			for set := kernel.Generic; set <= best; set++ {
				d := open(1, set)
				for _, kind := range []device.Phase{device.Prefill, device.Decode} {
					what := fmt.Sprintf("%v %v %v round %v %+v", set, kind, dt, c.round, s)
					whole := ws.outputs(t, d, kind, dt, s.n, s.D, s.I, s.hs, 0)
					if plain == nil {
						plain = whole
					}
					agree(t, what, plain, whole, tolerance)
					for _, threads := range []int{2, 3, 7} {
						agree(t, fmt.Sprint(what, ", threads ", threads), whole, ws.outputs(t, open(threads, set), kind, dt, s.n, s.D, s.I, s.hs, 0), 0)
					}
					last := s.n - 1
					alone := ws.outputs(t, d, kind, dt, 1, s.D, s.I, s.hs, last)
					one := map[string][][]float32{}
					for op, rows := range whole {
						one[op] = rows[last:]
					}
					agree(t, what+", alone", one, alone, 0)
				}
			}
		}
	}
}

// Activations as bfloat16 are float32 ones that were rounded before: nothing else
// of a product with bfloat16 weights changes, and nothing of one with others.
func TestRoundedActivations(t *testing.T) {
	ws := newRandomWeights()
	best, _ := kernel.Choose("auto")
	for _, s := range [][3]int{{1, 1, 1}, {5, 37, 41}, {14, 1031, 67}, {3, 64, 9941}} {
		n, D, I := s[0], s[1], s[2]
		for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
			for set := kernel.Generic; set <= best; set++ {
				for _, kind := range []device.Phase{device.Prefill, device.Decode} {
					var out [2]*buffer
					for i := range out {
						ws.round = i == 1
						d, err := Open(Options{Threads: 2, Kernels: set.String()})
						if err != nil {
							t.Fatal(err)
						}
						x := randomBuffer(uint64(D), n, D)
						if i == 0 && dt == checkpoint.BF16 {
							set.Round(x.data)
						}
						out[i] = &buffer{make([]float32, n*I), n, I}
						d.Linear(kind, out[i], x, n, ws.place(t, d, dt, I, D))
						d.Close()
					}
					what := fmt.Sprintf("%v %v %v %v", set, kind, dt, s)
					wrap := func(b *buffer) map[string][][]float32 { return map[string][][]float32{"linear": {b.data}} }
					agree(t, what, wrap(out[0]), wrap(out[1]), 0x1p-24*(16+4*math.Sqrt(float64(D))))
				}
			}
		}
	}
}

// Gate and up may be stored in different types.
func TestMixedTypes(t *testing.T) {
	ws := newRandomWeights()
	best, _ := kernel.Choose("auto")
	const n, D, I = 3, 37, 531
	types := []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16}
	for _, gate := range types {
		for _, up := range types {
			var plain map[string][][]float32
			for set := kernel.Generic; set <= best; set++ {
				for _, threads := range []int{1, 3} {
					for _, kind := range []device.Phase{device.Prefill, device.Decode} {
						d, err := Open(Options{Threads: threads, Kernels: set.String()})
						if err != nil {
							t.Fatal(err)
						}
						m := &buffer{make([]float32, n*I), n, I}
						d.GateUp(kind, m, randomBuffer(1, n, D), n, ws.place(t, d, checkpoint.F32, D), ws.place(t, d, gate, I, D), ws.place(t, d, up, I, D), 1e-5)
						d.Close()
						got := map[string][][]float32{"gate-up": {m.row(0), m.row(1), m.row(2)}}
						if plain == nil {
							plain = got
						}
						agree(t, fmt.Sprint(gate, up, set, kind, threads), plain, got, 1e-6)
					}
				}
			}
		}
	}
}

// Infinities and NaNs in the activations come out of the fast kernels where they
// come out of the plain ones.
func TestNotFinite(t *testing.T) {
	ws := newRandomWeights()
	best, _ := kernel.Choose("auto")
	const n, D, I = 3, 37, 41
	for _, bad := range []float32{float32(math.Inf(1)), float32(math.NaN())} {
		for at := range D {
			var plain []float32
			for set := kernel.Generic; set <= best; set++ {
				for i := range 4 {
					kind := device.Phase(i % 2)
					d, err := Open(Options{Threads: 1, Kernels: set.String()})
					ws.round = i >= 2
					if err != nil {
						t.Fatal(err)
					}
					x, y := randomBuffer(1, n, D), &buffer{make([]float32, n*I), n, I}
					x.data[D+at] = bad
					d.Linear(kind, y, x, n, ws.place(t, d, checkpoint.BF16, I, D))
					d.Close()
					if plain == nil {
						plain = y.data
					}
					for i, v := range plain {
						if g := y.data[i]; (v-v == 0) != (g-g == 0) || math.IsInf(float64(v), 1) != math.IsInf(float64(g), 1) {
							t.Fatalf("%v %v: %v at %d: element %d: want %v, got %v", set, kind, bad, at, i, v, g)
						}
					}
				}
			}
		}
	}
}

// The AMP sums against the formula in float64.
func TestSumsOverHeads(t *testing.T) {
	ws := newRandomWeights()
	best, _ := kernel.Choose("auto")
	const n, D = 14, 131
	hs := device.AttentionShape{H: 5, K: 5, Dh: 6}
	for set := kernel.Generic; set <= best; set++ {
		var first []float64
		for _, threads := range []int{1, 2, 3, 7} {
			d, err := Open(Options{Threads: threads, Kernels: set.String()})
			if err != nil {
				t.Fatal(err)
			}
			a, wo := randomBuffer(4, n, hs.H*hs.Dh), ws.place(t, d, checkpoint.F32, D, hs.H*hs.Dh)
			sums, columns := make([]float64, hs.H), make([]float64, a.cols)
			d.HeadL1(sums, a, n, wo, hs)
			d.ColumnL1(columns, a, n)
			d.Close()
			if first == nil {
				first = sums
				w := unsafe.Slice(unsafe.SliceData(asWeight(wo).f32), D*a.cols)
				for h, got := range sums {
					want := 0.0
					for i := range n {
						for r := range D {
							dot := 0.0
							for j := h * hs.Dh; j < (h+1)*hs.Dh; j++ {
								dot += float64(w[r*a.cols+j]) * float64(a.row(i)[j])
							}
							want += math.Abs(dot)
						}
					}
					if math.Abs(got-want) > 1e-5*want {
						t.Errorf("%v head %d: want %v, got %v", set, h, want, got)
					}
				}
			}
			for h := range sums {
				if sums[h] != first[h] {
					t.Errorf("%v %d threads: other bits than 1", set, threads)
				}
			}
			for j, got := range columns {
				want := 0.0
				for i := range n {
					want += math.Abs(float64(a.row(i)[j]))
				}
				if math.Abs(got-want) > 1e-12*want {
					t.Errorf("%v column %d: want %v, got %v", set, j, want, got)
				}
			}
		}
	}
}

// A decode pass has sums of its own, made while the weights come from memory: it does
// not multiply as a prefill pass does, which of a matrix that is longer than the first
// cache gives other bits.
func TestDecodeIsNotPrefill(t *testing.T) {
	ws := newRandomWeights()
	best, _ := kernel.Choose("auto")
	const n, D, I = 2, 4099, 61
	for set := kernel.Generic; set <= best; set++ {
		d, err := Open(Options{Threads: 1, Kernels: set.String()})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		x := randomBuffer(1, n, D)
		for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
			w := ws.place(t, d, dt, I, D)
			for _, op := range []func(device.Phase, device.Buffer, device.Buffer, int, device.Weight){d.Linear, d.AddLinear} {
				var out [2]*buffer
				for i, kind := range []device.Phase{device.Prefill, device.Decode} {
					out[i] = randomBuffer(2, n, I)
					op(kind, out[i], x, n, w)
				}
				if slices.Equal(out[0].data, out[1].data) {
					t.Errorf("%v %v: decode has the bits of prefill", set, dt)
				}
			}
		}
	}
}
