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
	"mop/runtime/random"
)

// The four matrix shapes of each model, [out, in], and a pruned width.
var matrices = []struct {
	name    string
	out, in int
}{
	{"llama-2-7b/qkv", 12288, 4096},
	{"llama-2-7b/o", 4096, 4096},
	{"llama-2-7b/gate-up", 22016, 4096},
	{"llama-2-7b/down", 4096, 11008},
	{"llama-2-7b/down-8848", 4096, 8848},
	{"llama-2-7b/down-9941", 4096, 9941},
	{"llama-3-8b/qkv", 6144, 4096},
	{"llama-3-8b/gate-up", 28672, 4096},
	{"llama-3-8b/down", 4096, 14336},
	{"llama-3-8b/head", 128256, 4096},
}

// made is a random weight on the device, randomWeightOfKey is that of a key: products of equal numbers
// take less power, and so less time.
func made(b *testing.B, d *Device, out, in int) *weight { return randomWeightOfKey(b, d, out, in, 1) }

func randomWeightOfKey(b *testing.B, d *Device, out, in int, key uint64) *weight {
	return randomWeight(b, d, out, in, key, device.PlaceOptions{})
}

func randomWeight(b *testing.B, d *Device, out, in int, key uint64, o device.PlaceOptions) *weight {
	w, err := d.PlaceRandom(checkpoint.RandomSpec{Name: "w", DType: checkpoint.BF16, Shape: []int{out, in}, Key: key, Scale: random.Scale(0.02)}, o)
	if err != nil {
		b.Fatal(err)
	}
	return w.(*weight)
}

// randomRows is n random rows.
func randomRows(b *testing.B, d *Device, n, cols int) *buffer {
	return randomWeightOfKey(b, d, n, cols, 2).buffer
}

// randomCache is a cache of T random positions.
func randomCache(b *testing.B, d *Device, T int, hs device.AttentionShape) device.KVCache {
	kv, err := d.NewKVCache(1, T, hs)
	if err != nil {
		b.Fatal(err)
	}
	kv.(*kvCache).dtype = checkpoint.BF16
	if err := kv.Reserve(0, T); err != nil {
		b.Fatal(err)
	}
	p := kv.(*kvCache)
	if p.int8 {
		r := rand.New(rand.NewPCG(1, 2))
		one := [2]matrix{randomMatrix(r, pageSize, hs.K*hs.Dh, checkpoint.BF16), randomMatrix(r, pageSize, hs.K*hs.Dh, checkpoint.BF16)}
		for _, at := range p.held.slots[0] { // the same numbers in all pages
			page := int8Page(hs, one)
			if err := d.driver.Upload(at, len(page), page, len(page)); err != nil {
				b.Fatal(err)
			}
		}
		return kv
	}
	for i, at := range p.held.slots[0] {
		n := int(p.PageBytes() / 2)
		d.launch("fill_random_bf16", [3]int{1, 1, 1}, 256, 0, at, n, n, uint64(i), random.Scale(0.5))
	}
	return kv
}

// BenchmarkDecode: rows by one matrix, in GB/s of weights read, with every set of kernels.
// Several copies of the matrix take turns, so that none is in the cache.
func BenchmarkDecode(b *testing.B) {
	for _, set := range sets(b) {
		for _, m := range matrices {
			for _, n := range []int{1, 4, 8} {
				if n == 4 && m.name != "llama-3-8b/down" {
					continue // four rows of this one leave the pipeline few stages
				}
				b.Run(fmt.Sprintf("%s/%s/%d", set, m.name, n), func(b *testing.B) { decode(b, set, n, m.out, m.in) })
			}
		}
	}
}

func decode(b *testing.B, set string, n, out, in int) {
	d := openSet(b, 1, set)
	copies := max(2, (256<<20)/(2*out*in))
	if testing.Short() {
		copies = 1
	}
	ws := make([]*weight, copies)
	for i := range ws {
		ws[i] = made(b, d, out, in)
	}
	x, y := randomRows(b, d, n, in), floats(b, d, n, out, nil)
	measure(b, d, func(i int) { d.Linear(device.Decode, y, x, n, ws[i%copies]) })
	b.ReportMetric(float64(out)*float64(in)*2*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
}

// BenchmarkPrefill: 2048 rows by one matrix, in TFLOP/s, with every set of kernels; and
// prompts of 16 and 128 rows by two matrices.
func BenchmarkPrefill(b *testing.B) {
	for _, set := range sets(b) {
		for i, m := range matrices[:9] {
			b.Run(set+"/"+m.name, func(b *testing.B) { prefill(b, set, 2048, m.out, m.in) })
			for _, n := range []int{16, 128} {
				if i == 1 || i == 2 {
					b.Run(fmt.Sprintf("%s/%s/%d", set, m.name, n), func(b *testing.B) { prefill(b, set, n, m.out, m.in) })
				}
			}
		}
	}
}

func prefill(b *testing.B, set string, n, out, in int) {
	if testing.Short() {
		n = 2
	}
	d := openSet(b, 1, set)
	w := made(b, d, out, in)
	x, y := randomRows(b, d, n, in), floats(b, d, n, out, nil)
	measure(b, d, func(int) { d.Linear(device.Prefill, y, x, n, w) })
	b.ReportMetric(2*float64(n)*float64(out)*float64(in)*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
}

// layerOperation is one of a layer's four operations as a pass uses it, with norm, RoPE,
// cache and residual. run queues it with its matrices.
type layerOperation struct {
	name   string
	shapes [][2]int // [out, in] of the matrices
	run    func(kind device.Phase, ws []device.Weight)
}

// layer is the shape of a model's layers.
type layer struct {
	name string
	D, I int
	hs   device.AttentionShape
}

var layers = []layer{
	{"llama-2-7b", 4096, 11008, device.AttentionShape{H: 32, K: 32, Dh: 128}},
	{"llama-3-8b", 4096, 14336, device.AttentionShape{H: 32, K: 8, Dh: 128}},
}

// operationsOf makes those of a layer for n rows at the spans' positions, all below T.
func operationsOf(b *testing.B, d *Device, D, I int, hs device.AttentionShape, n, T int, spans []device.Span) []layerOperation {
	gain, err := d.PlaceRandom(checkpoint.RandomSpec{Name: "gain", DType: checkpoint.BF16, Shape: []int{D}, Key: 1, Scale: random.Scale(1)}, device.PlaceOptions{})
	if err != nil {
		b.Fatal(err)
	}
	kv, err := d.NewKVCache(len(spans), T, hs)
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range spans {
		if err := kv.Reserve(s.Slot, s.Start+s.Len); err != nil {
			b.Fatal(err)
		}
	}
	rope := device.RoPEFrequencies{InvFreq: make([]float32, hs.Dh/2)}
	for i := range rope.InvFreq {
		rope.InvFreq[i] = float32(math.Pow(10000, -float64(2*i)/float64(hs.Dh)))
	}
	x := floats(b, d, n, D, normal(rand.New(rand.NewPCG(1, 2)), n*D))
	q, a, m, mo := emptyInner(b, d, n, hs.H*hs.Dh), randomRows(b, d, n, hs.H*hs.Dh), emptyInner(b, d, n, I), randomRows(b, d, n, I)
	return []layerOperation{
		{"qkv", [][2]int{{hs.H * hs.Dh, D}, {hs.K * hs.Dh, D}, {hs.K * hs.Dh, D}}, func(kind device.Phase, ws []device.Weight) {
			d.QKV(kind, q, kv, x, gain, ws[0], ws[1], ws[2], 1e-5, hs, rope, spans)
		}},
		{"o", [][2]int{{D, hs.H * hs.Dh}}, func(kind device.Phase, ws []device.Weight) { d.AddLinear(kind, x, a, n, ws[0]) }},
		{"gate-up", [][2]int{{I, D}, {I, D}}, func(kind device.Phase, ws []device.Weight) { d.GateUp(kind, m, x, n, gain, ws[0], ws[1], 1e-5) }},
		{"down", [][2]int{{D, I}}, func(kind device.Phase, ws []device.Weight) { d.AddLinear(kind, x, mo, n, ws[0]) }},
	}
}

// elements returns the number of elements of an operation's matrices.
func (o layerOperation) elements() (n float64) {
	for _, s := range o.shapes {
		n += float64(s[0]) * float64(s[1])
	}
	return n
}

// copies of its matrices, of so many elements in all, take turns, so that none is in the cache.
func (o layerOperation) copies(b *testing.B, d *Device, elements float64, stored device.PlaceOptions) [][]device.Weight {
	n := max(1, int(math.Ceil(elements/o.elements())))
	if testing.Short() {
		n = 1
	}
	all := make([][]device.Weight, n)
	for i := range all {
		for j, s := range o.shapes {
			all[i] = append(all[i], randomWeight(b, d, s[0], s[1], uint64(3+j), stored))
		}
	}
	return all
}

// BenchmarkPrefillLayer: a layer's operations on 2048 rows, in TFLOP/s of their products,
// with every set of kernels.
func BenchmarkPrefillLayer(b *testing.B) {
	n := 2048
	if testing.Short() {
		n = 2
	}
	for _, set := range sets(b) {
		for _, l := range layers {
			b.Run(set+"/"+l.name, func(b *testing.B) {
				d := openSet(b, 1, set)
				for _, o := range operationsOf(b, d, l.D, l.I, l.hs, n, n, []device.Span{{Len: n}}) {
					ws := o.copies(b, d, 0, device.PlaceOptions{})[0]
					b.Run(o.name, func(b *testing.B) {
						measure(b, d, func(int) { o.run(device.Prefill, ws) })
						b.ReportMetric(2*float64(n)*o.elements()*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
					})
				}
			})
		}
	}
}

// BenchmarkDecodeLayer: the same on one to 64 rows, and on weights of 8 bits, in GB/s of weights
// read. A product that reads them once at any batch takes about as long at 64 rows as at one.
func BenchmarkDecodeLayer(b *testing.B) {
	for _, l := range layers {
		for _, n := range []int{1, 8, 16, 32, 64} {
			b.Run(fmt.Sprintf("%s/%d", l.name, n), func(b *testing.B) { decodeLayer(b, l, n, 2, device.PlaceOptions{}) })
		}
		for _, n := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s-int8/%d", l.name, n), func(b *testing.B) { decodeLayer(b, l, n, 1, device.PlaceOptions{Int8: true}) })
		}
	}
}

func decodeLayer(b *testing.B, l layer, n int, weightBytes float64, stored device.PlaceOptions) {
	const T = 512
	d := open(b, 1)
	var spans []device.Span
	for i := range n {
		spans = append(spans, device.Span{Slot: i, Start: T - 1, Row: i, Len: 1})
	}
	for _, o := range operationsOf(b, d, l.D, l.I, l.hs, n, T, spans) {
		ws := o.copies(b, d, (256<<20)/weightBytes, stored)
		b.Run(o.name, func(b *testing.B) {
			measure(b, d, func(i int) { o.run(device.Decode, ws[i%len(ws)]) })
			b.ReportMetric(weightBytes*o.elements()*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
		})
		for _, w := range slices.Concat(ws...) {
			w.Free()
		}
	}
}

// BenchmarkAttention: a row over a context, in GB/s of cache read; and causal prompts, in
// TFLOP/s, with every set of kernels.
func BenchmarkAttention(b *testing.B) {
	for _, hs := range []device.AttentionShape{{H: 32, K: 32, Dh: 128}, {H: 32, K: 8, Dh: 128}, {H: 29, K: 29, Dh: 128}} {
		for _, kind := range []string{"", "int8-"} {
			for _, T := range []int{128, 2048, 8192, 32768} {
				if testing.Short() && T > 8192 {
					continue // long in emulation
				}
				b.Run(fmt.Sprintf("%sdecode/%d-%d/%d", kind, hs.H, hs.K, T), func(b *testing.B) {
					d := open(b, 1)
					d.int8KV = kind != ""
					defer func() { d.int8KV = false }()
					kv := randomCache(b, d, T, hs)
					a, q := emptyInner(b, d, 1, hs.H*hs.Dh), randomRows(b, d, 1, hs.H*hs.Dh)
					span := []device.Span{{Start: T - 1, Len: 1}}
					measure(b, d, func(int) { d.Attention(device.Decode, a, q, kv, hs, span) })
					b.ReportMetric(kv.(*kvCache).positionBytes()*float64(T)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
				})
			}
		}
		for _, set := range sets(b) {
			for _, T := range []int{512, 2048, 8192} {
				b.Run(fmt.Sprintf("prefill/%s/%d-%d/%d", set, hs.H, hs.K, T), func(b *testing.B) {
					if testing.Short() {
						b.Skip("long in emulation")
					}
					d := openSet(b, 1, set)
					kv := randomCache(b, d, T, hs)
					a, q := emptyInner(b, d, T, hs.H*hs.Dh), randomRows(b, d, T, hs.H*hs.Dh)
					measure(b, d, func(int) { d.Attention(device.Prefill, a, q, kv, hs, []device.Span{{Len: T}}) })
					b.ReportMetric(2*float64(T)*float64(T)*float64(hs.H*hs.Dh)*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
				})
			}
		}
	}
}

// measure times b.N launches after a warm-up.
func measure(b *testing.B, d *Device, run func(i int)) {
	b.Helper()
	for i := range min(b.N, 3) {
		run(i)
	}
	if err := d.Sync(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		run(i)
	}
	if err := d.Sync(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
}
