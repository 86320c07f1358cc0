// Package cpu runs the model's operations on the host, on all cores. Weights stay
// where they are mapped, in their type.
//
// A matrix meets one row of activations at a time in a decode pass, which reads
// the weights at the speed of memory (gemv.go), and all rows at once in a
// prefill pass, which multiplies at the speed of the registers (gemm.go).
package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Device is the host.
type Device struct {
	set       kernel.Set
	kvType    checkpoint.DType
	int8KV    bool
	pool      *pool
	workers   []worker
	shared    scratch // of the operation as a whole
	ropes     ropeTables
	ops       uint64          // counts the decode operations
	gemv      gemv            // the present one, of products
	attention decodeAttention // the present one, of attention
	append    appendRows      // the present one, of QKV
	parts     parts
	train     training // what only training needs
	err       error
}

// parts are what workers do of decode operations, made once: a step of a small model
// is over before the memory for many of them would be cleaned up.
type parts struct{ gemv, gateUp, attention, combine, append func(worker, lo, hi int) }

// worker is what one worker has to itself.
type worker struct {
	scratch
	panels   rightPanels
	op       uint64      // that the vectors in scratch 1 are arranged for,
	arranged kernel.Type // and how
}

// Options of a device.
type Options struct {
	Threads int    // 0 = one per core
	Kernels string // a name of kernels/cpu.Names, "" = auto

	// KVType is the type of the KV cache. Float16 and bfloat16 halve its memory and what decode
	// attention reads, and float16 rounds 8 times more finely.
	KVType checkpoint.DType
	// Int8KV holds keys and values at 8 bits instead of KVType, each row of a head with a scale
	// (device.QuantizeRow).
	Int8KV bool
}

// New starts a device of the given number of threads, 0 = one per core.
func New(threads int) (*Device, error) { return Open(Options{Threads: threads}) }

// Open starts a device.
func Open(o Options) (*Device, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("threads: want 0 or more, got %d", o.Threads)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Kernels == "" {
		o.Kernels = "auto"
	}
	set, err := kernel.Choose(o.Kernels)
	if err != nil {
		return nil, err
	}
	d := &Device{set: set, kvType: o.KVType, int8KV: o.Int8KV, pool: newPool(o.Threads), workers: make([]worker, o.Threads)}
	d.parts = parts{d.gemvPart, d.gateUpPart, d.attentionPart, d.combinePart, d.appendPart}
	return d, nil
}

var (
	_ device.Trainer       = (*Device)(nil)
	_ device.PreciseCacher = (*Device)(nil)
	_ device.CacheTyper    = (*Device)(nil)
)

// Capabilities: see device.Device.
func (d *Device) Capabilities() device.Capabilities {
	c := device.Capabilities{Name: "cpu", Hardware: "cpu", Threads: d.pool.threads, PrefillRows: prefillRows, CacheType: strings.ToLower(d.kvType.String()), CacheElementBytes: d.kvType.Size(),
		Int8Weights: true, BF16Activations: true, HostMemory: true}
	if d.int8KV {
		c.CacheType, c.CacheElementBytes, c.CacheScaleBytes = "int8", 1, scaleBytes
	}
	return c
}

// prefillRows use each weight many times, and bound the memory of the activations.
const prefillRows = 512

// SetComputeType does nothing: every weight is multiplied in its own type.
func (d *Device) SetComputeType(checkpoint.DType) {}

// Sync returns the first error; operations are done when they return.
func (d *Device) Sync() error { return d.err }

// Close ends the workers.
func (d *Device) Close() error {
	d.pool.close()
	return nil
}

// buffer is a row-major array of the host.
type buffer struct {
	data       []float32 // [rows, cols]
	rows, cols int
}

func (b *buffer) Rows() int           { return b.rows }
func (b *buffer) Cols() int           { return b.cols }
func (b *buffer) row(i int) []float32 { return b.data[i*b.cols : (i+1)*b.cols] }
func data(b device.Buffer) *buffer    { return b.(*buffer) }

// Buffer makes a zeroed array.
func (d *Device) Buffer(rows, cols int) (device.Buffer, error) {
	if rows < 0 || cols < 0 {
		return nil, fmt.Errorf("buffer: want a size of 0 or more, got [%d %d]", rows, cols)
	}
	return &buffer{make([]float32, rows*cols), rows, cols}, nil
}

// Free lets the collector have the memory.
func (b *buffer) Free() { b.data = nil }

// Activations makes float32 arrays that share the memory of the widest; layers of one
// width share one Buffer.
func (d *Device) Activations(rows int, widths []int) ([]device.Buffer, error) {
	if len(widths) == 0 {
		return nil, nil
	}
	if w := slices.Min(widths); w < 0 {
		return nil, fmt.Errorf("buffer: want a width of 0 or more, got %d", w)
	}
	widest, err := d.Buffer(rows, slices.Max(widths))
	if err != nil {
		return nil, err
	}
	byWidth := map[int]*buffer{}
	out := make([]device.Buffer, len(widths))
	for l, w := range widths {
		if byWidth[w] == nil {
			byWidth[w] = &buffer{data(widest).data[:rows*w], rows, w}
		}
		out[l] = byWidth[w]
	}
	return out, nil
}

// PeakBytes is 0: the memory is the host's.
func (d *Device) PeakBytes() int64 { return 0 }

// CopyBandwidth is 0, since the device uses the host's memory.
func (d *Device) CopyBandwidth() (float64, error) { return 0, nil }

// Read copies n rows from row on.
func (d *Device) Read(dst []float32, b device.Buffer, row, n int) {
	copy(dst, data(b).data[row*b.Cols():(row+n)*b.Cols()])
}

// temp is worker w's scratch of n floats, contents undefined.
func (d *Device) temp(w, n int) []float32 { return d.workers[w].take(0, n) }
