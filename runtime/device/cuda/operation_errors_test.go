//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// operationArguments has valid arguments of every operation; each case of TestOperationErrors makes
// some of them invalid.
type operationArguments struct {
	d             *Device
	x, y, m, q, a *buffer // [4 6], [4 6] float32; [4 5], [4 8], [4 8] of 16 bits
	small         *buffer // [1 6] float32
	half          *buffer // [4 6] of 16 bits
	gain          device.Weight
	table, wo     device.Weight // [9 6], [6 8]
	gate, up      device.Weight // [5 6]
	wq, wk, wv    device.Weight // [8 6], [4 6], [4 6]
	hs            device.AttentionShape
	kv            device.KVCache
	rope          device.RoPEFrequencies
	spans         []device.Span
	n             int
	rows, tokens  []int
}

func (b *operationArguments) weight(t *testing.T, dt checkpoint.DType, rows, cols int) device.Weight {
	m := matrix{rows: rows, cols: cols, v: make([]float64, rows*cols), t: dt}
	return m.place(t, b.d, false)
}

func (b *operationArguments) eight(t *testing.T, rows, cols int) device.Weight {
	m := matrix{rows: rows, cols: cols, v: make([]float64, rows*cols), t: checkpoint.BF16}
	m.round()
	return m.place(t, b.d, false)
}

func (b *operationArguments) vector(t *testing.T, dt checkpoint.DType, n int) device.Weight {
	m := matrix{rows: 1, cols: n, v: make([]float64, n), t: dt}
	return m.place(t, b.d, true)
}

func newOperationArguments(t *testing.T, d *Device) *operationArguments {
	b := &operationArguments{d: d, hs: device.AttentionShape{H: 4, K: 2, Dh: 2}, rope: device.RoPEFrequencies{InvFreq: []float32{1}}, n: 4, rows: []int{0, 3}, tokens: []int{1, 8}}
	dt := checkpoint.BF16
	b.gain = b.vector(t, dt, 6)
	b.table, b.wo = b.weight(t, dt, 9, 6), b.weight(t, dt, 6, 8)
	b.gate, b.up = b.weight(t, dt, 5, 6), b.weight(t, dt, 5, 6)
	b.wq, b.wk, b.wv = b.weight(t, dt, 8, 6), b.weight(t, dt, 4, 6), b.weight(t, dt, 4, 6)
	b.x, b.y, b.small = floats(t, d, 4, 6, nil), floats(t, d, 4, 6, nil), floats(t, d, 1, 6, nil)
	b.m, b.q, b.a, b.half = emptyInner(t, d, 4, 5), emptyInner(t, d, 4, 8), emptyInner(t, d, 4, 8), emptyInner(t, d, 4, 6)
	kv, err := d.NewKVCache(2, 100, b.hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	b.kv, b.spans = kv, []device.Span{{Slot: 1, Start: 60, Row: 0, Len: 4}}
	if err := kv.Reserve(1, 64); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *operationArguments) embed()  { b.d.Embed(b.x, b.table, b.tokens) }
func (b *operationArguments) norm()   { b.d.Norm(b.y, b.x, b.rows, b.gain, 1e-5) }
func (b *operationArguments) linear() { b.d.AddLinear(device.Decode, b.y, b.a, b.n, b.wo) }

// extended replaces the cache by one of another shape, with the positions that the spans need.
func (b *operationArguments) extended(hs device.AttentionShape) {
	b.kv, _ = b.d.NewKVCache(2, 100, hs)
	if err := b.kv.Reserve(1, 64); err != nil {
		b.d.fail(err)
	}
}

func (b *operationArguments) qkv() {
	b.d.QKV(device.Prefill, b.q, b.kv, b.x, b.gain, b.wq, b.wk, b.wv, 1e-5, b.hs, b.rope, b.spans)
}
func (b *operationArguments) attention() { b.d.Attention(device.Decode, b.a, b.q, b.kv, b.hs, b.spans) }
func (b *operationArguments) gateUp() {
	b.d.GateUp(device.Decode, b.m, b.x, b.n, b.gain, b.gate, b.up, 1e-5)
}
func (b *operationArguments) head() device.LMHead {
	return device.LMHead{Phase: device.Decode, X: b.x, Norm: b.gain, W: b.table, Eps: 1e-5}
}
func (b *operationArguments) argmax() { b.d.Argmax(make([]int, 2), b.head(), b.rows) }
func (b *operationArguments) nll()    { b.d.NLL(make([]float64, 2), b.head(), b.rows, b.tokens) }
func (b *operationArguments) compare() {
	b.d.CompareLogits(make([]device.Divergence, 2), b.head(), b.head(), b.rows)
}
func (b *operationArguments) heads()   { b.d.HeadL1(make([]float64, b.hs.H), b.a, b.n, b.wo, b.hs) }
func (b *operationArguments) columns() { b.d.ColumnL1(make([]float64, 5), b.m, b.n) }
func (b *operationArguments) read()    { b.d.Read(make([]float32, 24), b.x, 0, b.n) }
func (b *operationArguments) write()   { b.d.Write(b.x, 0, make([]float32, 6*b.n)) }

// Every precondition of every operation is checked: an invalid call fails with the operation's
// name and launches nothing, and later calls launch nothing either.
func TestOperationErrors(t *testing.T) {
	d := open(t, orders[0])
	bf16, f16 := checkpoint.BF16, checkpoint.F16
	type spoil struct {
		what string
		do   func(b *operationArguments)
	}
	cases := []struct {
		op   string // its name in the error
		call func(b *operationArguments)
		by   []spoil
	}{
		{"embed: ", (*operationArguments).embed, []spoil{
			{"more tokens than rows", func(b *operationArguments) { b.x = b.small }}, {"another width", func(b *operationArguments) { b.table, b.tokens = b.wo, []int{1} }},
			{"16 bits", func(b *operationArguments) { b.x = b.half }}, {"a vector for a table", func(b *operationArguments) { b.table, b.tokens = b.gain, []int{0} }}, {"a token too high", func(b *operationArguments) { b.tokens = []int{9} }}, {"a token below 0", func(b *operationArguments) { b.tokens = []int{0, -1} }},
		}},
		{"norm: ", (*operationArguments).norm, []spoil{
			{"more rows than y", func(b *operationArguments) { b.y = b.small }}, {"another width of y", func(b *operationArguments) { b.y = floats(t, d, 4, 5, nil) }},
			{"another gain", func(b *operationArguments) { b.gain = b.vector(t, bf16, 7) }}, {"a matrix for a gain", func(b *operationArguments) { b.gain = b.gate }}, {"y of 16 bits", func(b *operationArguments) { b.y = b.half }}, {"x of 16 bits", func(b *operationArguments) { b.x = b.half }},
			{"a row too high", func(b *operationArguments) { b.rows = []int{4} }}, {"a row below 0", func(b *operationArguments) { b.rows = []int{-1} }},
			{"a parameter", func(b *operationArguments) { b.gain = d.Parameter(b.small, true) }},
		}},
		{"linear: ", (*operationArguments).linear, []spoil{
			{"rows below 0", func(b *operationArguments) { b.n = -1 }},
			{"y of fewer rows", func(b *operationArguments) { b.y = b.small }}, {"x of fewer rows", func(b *operationArguments) { b.a = emptyInner(t, d, 3, 8) }},
			{"another width of y", func(b *operationArguments) { b.y = floats(t, d, 4, 5, nil) }}, {"another width of x", func(b *operationArguments) { b.a = b.half }},
			{"y of 16 bits", func(b *operationArguments) { b.y = b.half }}, {"x of another type", func(b *operationArguments) { b.a.dtype = f16 }},
			{"a parameter", func(b *operationArguments) { b.wo = d.Parameter(floats(t, d, 6, 8, nil), false) }},
		}},
		{"qkv: ", (*operationArguments).qkv, []spoil{
			{"other heads of q", func(b *operationArguments) { b.hs.H = 6 }}, {"wk of other heads", func(b *operationArguments) { b.wk = b.weight(t, bf16, 6, 6) }}, {"wv of other heads", func(b *operationArguments) { b.wv = b.weight(t, bf16, 6, 6) }},
			{"q of another width", func(b *operationArguments) { b.q = b.half }}, {"wq of another width", func(b *operationArguments) { b.wq = b.weight(t, bf16, 8, 5) }},
			{"wk of another width", func(b *operationArguments) { b.wk = b.weight(t, bf16, 4, 5) }}, {"wv of another width", func(b *operationArguments) { b.wv = b.weight(t, bf16, 4, 5) }},
			{"other rotations", func(b *operationArguments) { b.rope.InvFreq = []float32{1, 2} }}, {"x of fewer rows", func(b *operationArguments) { b.x = b.small }}, {"q of fewer rows", func(b *operationArguments) { b.q = emptyInner(t, d, 3, 8) }},
			{"x of 16 bits", func(b *operationArguments) { b.x = b.half }}, {"q of float32", func(b *operationArguments) { b.q = floats(t, d, 4, 8, nil) }},
			{"another gain", func(b *operationArguments) { b.gain = b.vector(t, bf16, 7) }}, {"a matrix for a gain", func(b *operationArguments) { b.gain = b.wk }},
			{"a row below 0", func(b *operationArguments) { b.spans[0].Row = -1 }}, {"a position below 0", func(b *operationArguments) { b.spans[0].Start = -1 }}, {"a length below 0", func(b *operationArguments) { b.spans[0].Len = -1 }},
			{"wk of another type", func(b *operationArguments) { b.wk = b.weight(t, f16, 4, 6) }}, {"wv of another type", func(b *operationArguments) { b.wv = b.weight(t, f16, 4, 6) }},
			{"a gain of another type", func(b *operationArguments) { b.gain = b.vector(t, f16, 6) }},
			{"a parameter as gain", func(b *operationArguments) { b.gain = d.Parameter(b.small, true) }}, {"a parameter", func(b *operationArguments) { b.wv = d.Parameter(floats(t, d, 4, 6, nil), false) }},
			{"wk of 8 bits", func(b *operationArguments) { b.wk = b.eight(t, 4, 6) }}, {"wv of 8 bits", func(b *operationArguments) { b.wv = b.eight(t, 4, 6) }},
			{"a position past the cache's end", func(b *operationArguments) { b.spans[0].Start = 97 }}, {"a position without a page", func(b *operationArguments) { b.spans[0].Start = 61 }},
			{"a sequence without pages", func(b *operationArguments) { b.spans[0].Slot = 0 }}, {"a sequence too high", func(b *operationArguments) { b.spans[0].Slot = 2 }}, {"a sequence below 0", func(b *operationArguments) { b.spans[0].Slot = -1 }},
			{"a cache of other heads", func(b *operationArguments) { b.extended(device.AttentionShape{H: 4, K: 4, Dh: 2}) }},
			{"a cache of other widths", func(b *operationArguments) { b.extended(device.AttentionShape{H: 4, K: 2, Dh: 4}) }},
		}},
		{"attention: ", (*operationArguments).attention, []spoil{
			{"a row below 0", func(b *operationArguments) { b.spans[0].Row = -1 }}, {"a position below 0", func(b *operationArguments) { b.spans[0].Start = -1 }}, {"a length below 0", func(b *operationArguments) { b.spans[0].Len = -1 }},
			{"a cache of another type", func(b *operationArguments) { b.kv.(*kvCache).dtype = f16 }},
			{"a of fewer rows", func(b *operationArguments) { b.a = emptyInner(t, d, 3, 8) }}, {"q of fewer rows", func(b *operationArguments) { b.q = emptyInner(t, d, 3, 8) }},
			{"a of another width", func(b *operationArguments) { b.a = b.half }}, {"q of another width", func(b *operationArguments) { b.q = b.half }},
			{"a of float32", func(b *operationArguments) { b.a = floats(t, d, 4, 8, nil) }}, {"q of float32", func(b *operationArguments) { b.q = floats(t, d, 4, 8, nil) }},
			{"no heads of the cache", func(b *operationArguments) { b.hs.K = 0 }}, {"heads that do not divide", func(b *operationArguments) { b.hs.K = 3 }},
			{"a position without a page", func(b *operationArguments) { b.spans[0].Start = 61 }}, {"a cache of other heads", func(b *operationArguments) { b.hs.K = 4 }},
		}},
		{"gate-up: ", (*operationArguments).gateUp, []spoil{
			{"rows below 0", func(b *operationArguments) { b.n = -1 }}, {"another gain", func(b *operationArguments) { b.gain = b.vector(t, bf16, 7) }}, {"a matrix for a gain", func(b *operationArguments) { b.gain = b.gate }},
			{"m of fewer rows", func(b *operationArguments) { b.m = emptyInner(t, d, 3, 5) }}, {"x of fewer rows", func(b *operationArguments) { b.x = b.small }},
			{"m of another width", func(b *operationArguments) { b.m = b.half }}, {"m of float32", func(b *operationArguments) { b.m = floats(t, d, 4, 5, nil) }}, {"x of 16 bits", func(b *operationArguments) { b.x = b.half }},
			{"up of other rows", func(b *operationArguments) { b.up = b.weight(t, bf16, 6, 6) }}, {"a gate of another width", func(b *operationArguments) { b.gate = b.weight(t, bf16, 5, 7) }},
			{"up of another width", func(b *operationArguments) { b.up = b.weight(t, bf16, 5, 7) }}, {"up of another type", func(b *operationArguments) { b.up = b.weight(t, f16, 5, 6) }},
			{"a gain of another type", func(b *operationArguments) { b.gain = b.vector(t, f16, 6) }}, {"up of 8 bits", func(b *operationArguments) { b.up = b.eight(t, 5, 6) }},
			{"a parameter", func(b *operationArguments) { b.up = d.Parameter(floats(t, d, 5, 6, nil), false) }},
		}},
		{"head: ", (*operationArguments).argmax, []spoil{
			{"a row too high", func(b *operationArguments) { b.rows = []int{0, 4} }}, {"a row below 0", func(b *operationArguments) { b.rows = []int{0, -1} }},
			{"w of another width", func(b *operationArguments) { b.table = b.wo }}, {"another gain", func(b *operationArguments) { b.gain = b.vector(t, bf16, 7) }},
			{"x of 16 bits", func(b *operationArguments) { b.x = b.half }}, {"a gain of another type", func(b *operationArguments) { b.gain = b.vector(t, f16, 6) }},
			{"a parameter", func(b *operationArguments) { b.table = d.Parameter(floats(t, d, 9, 6, nil), false) }},
		}},
		{"head: ", (*operationArguments).nll, []spoil{{"a row too high", func(b *operationArguments) { b.rows = []int{4, 0} }}}},
		{"argmax: ", (*operationArguments).argmax, []spoil{{"no room for them", func(b *operationArguments) { b.rows = []int{0, 1, 2} }}}},
		{"compare: ", (*operationArguments).compare, []spoil{{"no room for them", func(b *operationArguments) { b.rows = []int{0, 1, 2} }}}},
		{"head: ", (*operationArguments).compare, []spoil{{"a row too high", func(b *operationArguments) { b.rows = []int{4, 0} }}}},
		{"nll: ", (*operationArguments).nll, []spoil{{"fewer targets", func(b *operationArguments) { b.tokens = b.tokens[:1] }}, {"more targets", func(b *operationArguments) { b.tokens = []int{1, 8, 1} }}, {"no room for them", func(b *operationArguments) { b.rows, b.tokens = []int{0, 1, 2}, []int{1, 2, 3} }}, {"a token too high", func(b *operationArguments) { b.tokens = []int{9, 0} }}, {"a token below 0", func(b *operationArguments) { b.tokens = []int{0, -1} }}}},
		{"head sums: ", (*operationArguments).heads, []spoil{
			{"rows below 0", func(b *operationArguments) { b.n = -1 }}, {"a of float32", func(b *operationArguments) { b.a = floats(t, d, 4, 8, nil) }},
			{"a of fewer rows", func(b *operationArguments) { b.a = emptyInner(t, d, 3, 8) }}, {"a of another width", func(b *operationArguments) { b.a = b.half }},
			{"w of another width", func(b *operationArguments) { b.wo = b.gate }}, {"other heads", func(b *operationArguments) { b.hs.H = 3 }}, {"a of another type", func(b *operationArguments) { b.a.dtype = f16 }},
			{"8 bits", func(b *operationArguments) { b.wo = b.eight(t, 6, 8) }}, {"a parameter", func(b *operationArguments) { b.wo = d.Parameter(floats(t, d, 6, 8, nil), false) }},
		}},
		{"column sums: ", (*operationArguments).columns, []spoil{{"rows below 0", func(b *operationArguments) { b.n = -1 }}, {"float32", func(b *operationArguments) { b.m = floats(t, d, 4, 5, nil) }}, {"fewer rows", func(b *operationArguments) { b.n = 5 }}, {"another width", func(b *operationArguments) { b.m = b.half }}}},
		{"read: ", (*operationArguments).read, []spoil{{"too many rows", func(b *operationArguments) { b.n = 5 }}, {"rows below 0", func(b *operationArguments) { b.n = -1 }}, {"no room for them", func(b *operationArguments) { b.x = floats(t, d, 4, 7, nil) }}}},
		{"write: ", (*operationArguments).write, []spoil{{"too many rows", func(b *operationArguments) { b.n = 5 }}, {"16 bits", func(b *operationArguments) { b.x = b.half }}, {"no whole rows", func(b *operationArguments) { b.x = floats(t, d, 5, 5, nil) }}}},
	}
	for _, c := range cases {
		c.by = append([]spoil{{"nothing", func(*operationArguments) {}}}, c.by...)
		for _, by := range c.by {
			t.Run(c.op+by.what, func(t *testing.T) {
				b, good := newOperationArguments(t, d), newOperationArguments(t, d)
				by.do(b)
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
				c.call(b)
				launched := len(d.launchedKernels)
				err := d.err
				if by.what == "nothing" {
					if err != nil {
						t.Fatalf("want it done, got %v", err)
					}
					return
				}
				defer clearError(d)
				if err == nil || !strings.HasPrefix(err.Error(), "cuda: "+c.op) {
					t.Fatalf("want the failure of %s, got %v", c.op, err)
				}
				if launched > 0 {
					t.Errorf("want no launch, got %v", d.launchedKernels)
				}
				for _, c := range cases {
					c.call(good)
				}
				if len(d.launchedKernels) > 0 || d.Sync() != err {
					t.Errorf("after the failure: want it again and no launch, got %v, %v", d.Sync(), d.launchedKernels)
				}
			})
		}
	}
	// Two heads, of which one does not fit.
	b := newOperationArguments(t, d)
	d.CompareLogits(make([]device.Divergence, 1), b.head(), device.LMHead{X: b.x, Norm: b.gain, W: b.gate}, []int{0})
	refused(t, d, "compare: want one vocabulary, got 9 and 5")
	d.CompareLogits(make([]device.Divergence, 1), b.head(), device.LMHead{X: b.small, Norm: b.gain, W: b.table}, []int{1})
	refused(t, d, "head: want a row below 1, got 1")
	d.Read(make([]float32, 30), b.x, 0, 5)
	refused(t, d, "read: want rows of [4 6], got 5 from 0")
	none := floats(t, d, 2, 0, nil)
	d.Write(none, 0, nil)
	refused(t, d, "write: want rows of float32 [2 0], got 0 numbers from 0")
	if d.Read(nil, none, 0, 2); d.Sync() != nil {
		t.Errorf("rows of no width: got %v", d.Sync())
	}
	if d.Read(nil, b.x, 4, 0); d.Sync() != nil {
		t.Errorf("no rows: got %v", d.Sync())
	}
	d.Read(make([]float32, 5), b.x, 0, 1)
	refused(t, d, "read: want rows of [4 6], got 1 from 0")
	d.Read(make([]float32, 24), b.x, -1, 1)
	refused(t, d, "read: want rows of [4 6], got 1 from -1")
	d.Write(b.x, -1, make([]float32, 6))
	refused(t, d, "write: want rows of float32 [4 6], got 6 numbers from -1")
	d.Sample(b.head(), 1, false)
	refused(t, d, "sample: want a call within Capture")
	d.launch("embedding_bf16", [3]int{1, 1, 1}, 256, 0, "text")
	refused(t, d, "embedding_bf16: argument 0: type string is not supported")
	d.launch("no such", [3]int{1, 1, 1}, 256, 0)
	refused(t, d, "no such: grid [1 1 1], 256 threads, 0 bytes shared, arguments []: ")
}

// refused expects a failure that begins with want, and clears it.
func refused(t *testing.T, d *Device, want string) {
	t.Helper()
	if err := d.err; err == nil || !strings.HasPrefix(err.Error(), "cuda: "+want) {
		t.Errorf("want the failure %q, got %v", want, err)
	}
	clearError(d)
}

// clearError clears the failure of a device.
func clearError(d *Device) { d.err, d.placedSpans = nil, nil }

// Invalid buffers, weights and caches return an error, and the device can still be used.
func TestConstructionErrors(t *testing.T) {
	d := open(t, orders[0])
	hs := device.AttentionShape{H: 2, K: 2, Dh: 4}
	kv, err := d.NewKVCache(2, 70, hs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Free)
	tensor := func(shape []int, bytes int) checkpoint.Tensor {
		return checkpoint.Tensor{Name: "w", DType: checkpoint.BF16, Shape: shape, Data: make([]byte, bytes)}
	}
	for want, f := range map[string]func() error{
		"buffer: want a size of 0 or more, got [-1 3]":     func() error { _, err := d.Buffer(-1, 3); return err },
		"buffer: want a size of 0 or more, got [3 -1]":     func() error { _, err := d.Buffer(3, -1); return err },
		"w: want a vector or a matrix, got shape [2 2 2]":  func() error { _, err := d.Place(tensor([]int{2, 2, 2}, 16), device.PlaceOptions{}); return err },
		"w: want a vector or a matrix, got shape []":       func() error { _, err := d.Place(tensor(nil, 0), device.PlaceOptions{}); return err },
		"w: want 12 bytes for shape [2 3] of BF16, got 10": func() error { _, err := d.Place(tensor([]int{2, 3}, 10), device.PlaceOptions{}); return err },
		"w: want 12 bytes for shape [2 3] of BF16, got 14": func() error { _, err := d.Place(tensor([]int{2, 3}, 14), device.PlaceOptions{Int8: true}); return err },
		"r: want a vector or a matrix, got shape [1 1 1]": func() error {
			_, err := d.PlaceRandom(checkpoint.RandomSpec{Name: "r", Shape: []int{1, 1, 1}, DType: checkpoint.BF16}, device.PlaceOptions{})
			return err
		},
		"got -1 slots of 3 positions, 2 heads of 4":              func() error { _, err := d.NewKVCache(-1, 3, hs); return err },
		"got 1 slots of -3 positions, 2 heads of 4":              func() error { _, err := d.NewKVCache(1, -3, hs); return err },
		"got 1 slots of 3 positions, -2 heads of 4":              func() error { _, err := d.NewKVCache(1, 3, device.AttentionShape{K: -2, Dh: 4}); return err },
		"got 1 slots of 3 positions, 2 heads of 3":               func() error { _, err := d.NewKVCache(1, 3, device.AttentionShape{K: 2, Dh: 3}); return err },
		"got 1 slots of 3 positions, 2 heads of -2":              func() error { _, err := d.NewKVCache(1, 3, device.AttentionShape{K: 2, Dh: -2}); return err },
		"got 1 slots of 3 positions, 2 heads of 1026":            func() error { _, err := d.NewKVCache(1, 3, device.AttentionShape{K: 2, Dh: 1026}); return err },
		"at most 70 positions, got slot 0 and 71":                func() error { return kv.Reserve(0, 71) },
		"want one of 2 slots and at most 70 positions, got slot": func() error { return kv.Reserve(2, 1) },
		"at most 70 positions, got slot -1 and 1":                func() error { return kv.Reserve(-1, 1) },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if err := d.Sync(); err != nil {
			t.Errorf("after %q: want a device that works, got %v", want, err)
		}
	}
	for slot, held := range kv.(*kvCache).held.slots {
		if len(held) > 0 {
			t.Errorf("slot %d: want no pages, got %d", slot, len(held))
		}
	}
}

// A decode graph refuses calls that do not match its capture.
func TestDecodeGraphErrors(t *testing.T) {
	d := open(t, orders[0])
	b := newOperationArguments(t, d)
	made, err := d.NewDecodeRows(2, 2, 9)
	if err != nil {
		t.Fatal(err)
	}
	capture := func(n int) (device.DecodeGraph, error) {
		return d.Capture(made, 2, 64, func() { d.Sample(b.head(), n, false) })
	}
	for want, f := range map[string]func() (device.DecodeGraph, error){
		"sample: want 2 rows and a vocabulary of 9, got 1 of 4 rows and 9": func() (device.DecodeGraph, error) { return capture(1) },
		"sample: want 2 rows and a vocabulary of 9, got 2 of 1 rows and 9": func() (device.DecodeGraph, error) { b.x = b.small; return capture(2) },
		"sample: want 2 rows and a vocabulary of 9, got 2 of 4 rows and 5": func() (device.DecodeGraph, error) { b.table = b.gate; return capture(2) },
		"qkv: want at most 100 positions, got 101":                         func() (device.DecodeGraph, error) { return d.Capture(made, 1, 101, b.qkv) },
		"qkv: want 64 positions of slot 9 reserved, got a c":               func() (device.DecodeGraph, error) { b.spans[0].Slot = 9; return d.Capture(made, 1, 64, b.qkv) },
		"capture: want 1 to 2 rows, got 3":                                 func() (device.DecodeGraph, error) { return d.Capture(made, 3, 64, func() {}) },
		"capture: want 1 to 2 rows, got 0":                                 func() (device.DecodeGraph, error) { return d.Capture(made, 0, 64, func() {}) },
	} {
		b = newOperationArguments(t, d)
		if s, err := f(); s != nil || err == nil || !strings.HasPrefix(err.Error(), "cuda: "+want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if d.recorder != nil {
			t.Error("want launches to go to the device again")
		}
		clearError(d)
	}
	b = newOperationArguments(t, d)
	s, err := capture(2)
	if err != nil {
		t.Fatal(err)
	}
	row := device.DecodeRow{Token: 1, Slot: 1, Sampling: device.SamplingParams{RepetitionPenalty: 2}, Seen: []int{3}}
	set := func(at int, change func(*device.DecodeRow)) func() error {
		return func() error {
			r := row
			change(&r)
			return made.Set(at, r)
		}
	}
	for want, f := range map[string]func() error{
		"got row 2, slot 1, token 1, position 0":                           set(2, func(*device.DecodeRow) {}),
		"got row -1, slot 1, token 1, position 0":                          set(-1, func(*device.DecodeRow) {}),
		"got row 0, slot 2, token 1, position 0":                           set(0, func(r *device.DecodeRow) { r.Slot = 2 }),
		"got row 0, slot -1, token 1, position 0":                          set(0, func(r *device.DecodeRow) { r.Slot = -1 }),
		"got row 0, slot 1, token 9, position 0":                           set(0, func(r *device.DecodeRow) { r.Token = 9 }),
		"got row 0, slot 1, token -1, position 0":                          set(0, func(r *device.DecodeRow) { r.Token = -1 }),
		"got row 0, slot 1, token 1, position -1":                          set(0, func(r *device.DecodeRow) { r.Position = -1 }),
		"want seen tokens below 9, got 9":                                  set(0, func(r *device.DecodeRow) { r.Seen = []int{9} }),
		"want seen tokens below 9, got -1":                                 set(0, func(r *device.DecodeRow) { r.Seen = []int{-1} }),
		"want the 2 tokens of a queued step, got room for 2, and 0 steps":  func() error { return s.Wait(make([]int, 2)) },
		"decode rows: want at least 1 row, slot and token, got 0, 2 and 9": func() error { _, err := d.NewDecodeRows(0, 2, 9); return err },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := made.Set(0, row); err != nil {
		t.Fatal(err)
	}
	if err := s.Launch(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(make([]int, 1)); err == nil || !strings.Contains(err.Error(), "want the 2 tokens of a queued step, got room for 1, and 1 steps") {
		t.Errorf("got %v", err)
	}
	if err := s.Wait(make([]int, 2)); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	// After a failure nothing is queued.
	d.fail(errors.New("failed before"))
	for _, err := range []error{s.Launch(), s.Wait(make([]int, 2))} {
		if err != d.err {
			t.Errorf("want the device's failure, got %v", err)
		}
	}
	if s, err := capture(2); s != nil || err != d.err {
		t.Errorf("want the device's failure, got %v", err)
	}
	clearError(d)
}
