//go:build cuda || cudaemu

package cuda

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/tolerance"
)

// unit returns the unit roundoff of a 16-bit type.
func unit(t checkpoint.DType) float64 { return tolerance.Unit(t) }

// worst keeps the element with the largest error relative to its tolerance.
type worst struct {
	what      string
	share     float64
	at        [2]int
	want, got float64
	n         int
}

func (w *worst) see(i, j int, want, got, allow float64) {
	w.n++
	share := math.Abs(want-got) / allow
	if share != share {
		share = math.Inf(1)
	}
	if share > w.share || w.n == 1 {
		w.share, w.at, w.want, w.got = share, [2]int{i, j}, want, got
	}
}

func (w *worst) report(t testing.TB) {
	t.Helper()
	if w.share > 1 {
		t.Errorf("%s: at %v want %g, got %g: %.3g times the tolerance", w.what, w.at, w.want, w.got, w.share)
	}
}

// matrix has values of a 16-bit type, exact in float64.
type matrix struct {
	rows, cols int
	v          []float64
	t          checkpoint.DType
	stored     []float64 // of a matrix held in 8 bits: what it is made of
}

// round replaces the values by those of 8-bit weights.
func (m *matrix) round() {
	m.stored, m.v = m.v, make([]float64, len(m.v))
	x, q := make([]float32, m.cols), make([]int8, m.cols)
	for i := range m.rows {
		for j := range x {
			x[j] = float32(m.stored[i*m.cols+j])
		}
		scale := device.QuantizeRow(q, x)
		for j := range x {
			m.v[i*m.cols+j] = float64(q[j]) * float64(scale)
		}
	}
}

func round16(x float64, t checkpoint.DType) float64 {
	var src, dst [4]byte
	binary.LittleEndian.PutUint32(src[:], math.Float32bits(float32(x)))
	roundTo(dst[:2], src[:], t)
	return float64(widen(binary.LittleEndian.Uint16(dst[:]), t))
}

func randomMatrix(r *rand.Rand, rows, cols int, t checkpoint.DType) matrix {
	m := matrix{rows: rows, cols: cols, v: make([]float64, rows*cols), t: t}
	for i := range m.v {
		m.v[i] = round16(r.NormFloat64(), t)
	}
	return m
}

func (m matrix) row(i int) []float64 { return m.v[i*m.cols : (i+1)*m.cols] }

// bytes returns the matrix as a checkpoint stores it.
func (m matrix) bytes() []byte {
	src, dst, v := make([]byte, 4*len(m.v)), make([]byte, 2*len(m.v)), m.v
	if m.stored != nil {
		v = m.stored
	}
	for i, x := range v {
		binary.LittleEndian.PutUint32(src[4*i:], math.Float32bits(float32(x)))
	}
	roundTo(dst, src, m.t)
	return dst
}

func (m matrix) place(t testing.TB, d *Device, vector bool) device.Weight {
	t.Helper()
	shape := []int{m.rows, m.cols}
	if vector {
		shape = shape[1:]
	}
	w, err := d.Place(checkpoint.Tensor{Name: "w", DType: m.t, Shape: shape, Data: m.bytes()}, device.PlaceOptions{Int8: m.stored != nil})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Free)
	return w
}

// inner uploads the matrix as activations.
func (m matrix) inner(t testing.TB, d *Device) *buffer {
	t.Helper()
	b, err := orNil(d.zeroed(m.rows, m.cols, rowPitch(m.cols), 2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Free)
	s := b.(*buffer)
	s.dtype = m.t
	if m.cols > 0 {
		if err := d.driver.Upload(s.p, 2*s.pitch, m.bytes(), 2*m.cols); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// floats uploads values as a float32 buffer.
func floats(t testing.TB, d *Device, rows, cols int, v []float64) *buffer {
	t.Helper()
	b, err := d.Buffer(rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Free)
	s := b.(*buffer)
	f := make([]float32, len(v))
	for i := range v {
		f[i] = float32(v[i])
	}
	if len(f) > 0 {
		if err := d.driver.Upload(s.p, 4*s.pitch, bytesOf(f), 4*cols); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func emptyInner(t testing.TB, d *Device, rows, cols int) *buffer {
	t.Helper()
	b, err := orNil(d.zeroed(rows, cols, rowPitch(cols), 2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Free)
	return b.(*buffer)
}

func read(d *Device, b device.Buffer) []float32 {
	out := make([]float32, b.Rows()*b.Cols())
	d.Read(out, b, 0, b.Rows())
	return out
}

// zeroTails checks that the padding of a buffer's rows is zero, because later operations read
// it.
func zeroTails(t *testing.T, d *Device, what string, b *buffer) {
	t.Helper()
	line := b.pitch * b.size
	for i, v := range download[byte](d, b.p, b.rows*line) {
		if col := i % line / b.size; v != 0 && col >= b.cols {
			t.Errorf("%s: row %d: want zeros from column %d on, got byte %#x of column %d", what, i/line, b.cols, v, col)
			return
		}
	}
}

// product returns sum_k w[k] x[k] and its error bound; rounded says that x was rounded first.
func product(w, x []float64, rounded bool) (y float64, b tolerance.Sum) {
	b.Terms = len(w)
	for k := range w {
		p := w[k] * x[k]
		y += p
		b.Magnitude += math.Abs(p)
		if rounded {
			b.Largest = max(b.Largest, math.Abs(p))
		}
	}
	return y, b
}

// normRow returns RMSNorm(x) rounded to a 16-bit type.
func normRow(x, gain []float64, eps float64, t checkpoint.DType) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	s := float32(1 / math.Sqrt(float64(float32(sum)/float32(len(x))+float32(eps))))
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = round16(float64(float32(v)*s*float32(gain[i])), t)
	}
	return out
}

func silu(z float64) float64 { return z / (1 + math.Exp(-z)) }

// fillCache writes the first keys and values of a sequence to the pages that it has.
func fillCache(t testing.TB, d *Device, kv device.KVCache, seq int, rows [2]matrix) {
	t.Helper()
	p := kv.(*kvCache)
	p.dtype = rows[0].t
	if p.int8 {
		fillInt8Cache(t, d, p, seq, rows)
		return
	}
	table := download[uint64](d, p.table.p, p.slots*p.maxPages)
	line := p.heads.K * p.heads.Dh * 2
	for part, m := range rows {
		b := m.bytes()
		for pos := range min(m.rows, len(p.held.slots[seq])*pageSize) {
			at := pointer(table[seq*p.maxPages+pos/pageSize]) + pointer((part*pageSize+pos%pageSize)*p.heads.K*roundUp(p.heads.Dh, 8)*2)
			if err := d.driver.Upload(at, 2*roundUp(p.heads.Dh, 8), b[pos*line:(pos+1)*line], 2*p.heads.Dh); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// readCache returns keys and values, each [sequences, pages*64, K, Dh rounded up to 8], with
// zeros where there is no page.
func readCache(d *Device, kv device.KVCache) (keys, values []float32) {
	p := kv.(*kvCache)
	if p.int8 {
		return readInt8Cache(d, p)
	}
	n := pageSize * p.heads.K * roundUp(p.heads.Dh, 8)
	keys, values = make([]float32, p.slots*p.maxPages*n), make([]float32, p.slots*p.maxPages*n)
	for i, at := range download[uint64](d, p.table.p, p.slots*p.maxPages) {
		if at == 0 {
			continue
		}
		for j, h := range download[uint16](d, pointer(at), 2*n) {
			if j < n {
				keys[i*n+j] = widen(h, p.dtype)
			} else {
				values[i*n+j-n] = widen(h, p.dtype)
			}
		}
	}
	return keys, values
}
