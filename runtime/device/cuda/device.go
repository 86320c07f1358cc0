//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// pointer is an address in device memory.
type pointer = driver.Pointer

// Device is one GPU. It is used by one goroutine at a time, the cleanups of what
// it made apart.
type Device struct {
	driver driver.Driver
	info   Info
	limits limits
	err    error                        // the first failure, kept
	half   checkpoint.DType             // of all weights placed from now on; F32: see typeFor
	noted  map[[2]checkpoint.DType]bool // weights were rounded from and to

	launched []string  // kernels since the last wait
	doing    operation // the present one
	recorder *recorder // where launches go instead, while a step is recorded

	mu      sync.Mutex
	garbage []pointer    // what the collector has found to be unused
	given   []*heldPages // pages of caches that it has
	lost    error        // of freeing it
	used    int64        // bytes allocated
	peak    int64        // the most that were

	spans      []device.Span // those that places and queries hold
	tiles      int           // of up to queryRows rows of a sequence
	pass       spread        // of training
	scratch    map[string]*buffer
	pools      map[int64]*pool         // pages of caches by their bytes
	ropeTables map[*float32]*ropeTable // rotations by the frequencies' address
}

// ropeTable holds cosine and sine of position times frequency.
type ropeTable struct {
	b         *buffer // [positions, Dh/2, 2] f32
	positions int
}

var _ device.Device = (*Device)(nil)

func newDevice(g driver.Driver) *Device {
	i := g.Info()
	return &Device{driver: g, info: i, limits: limits{i.SMs, i.Shared}, noted: map[[2]checkpoint.DType]bool{},
		scratch: map[string]*buffer{}, pools: map[int64]*pool{}, ropeTables: map[*float32]*ropeTable{}}
}

// Capabilities: see device.Device. The host's thread only launches kernels.
func (d *Device) Capabilities() device.Capabilities {
	return device.Capabilities{Name: "cuda", Hardware: d.info.Name, Threads: 1, PrefillRows: prefillRows, CacheElementBytes: 2,
		Trains: true, DecodesByGraph: true, Int8Weights: true, SingleType: true}
}

// prefillRows are 16 rows of the largest GEMM tiles.
const prefillRows = 2048

// Info describes the GPU.
func (d *Device) Info() Info { return d.info }

// Sync waits for all work. A pass for which there was no memory is told here, once:
// nothing of it counts, and the next may go on.
func (d *Device) Sync() error {
	if d.err == nil {
		d.waited(d.driver.Sync())
	}
	return d.told()
}

// told gives the failure that is kept; one of memory is kept no longer.
func (d *Device) told() error {
	err := d.err
	if errors.Is(err, device.ErrMemory) {
		d.err = nil
		d.spans, d.pass = nil, spread{} // what was to be placed was not
	}
	return err
}

// waited keeps the failure of a wait. A kernel fails while the host is elsewhere:
// what is known is which were launched since the wait before.
func (d *Device) waited(err error) {
	if err != nil && len(d.launched) > 0 {
		err = fmt.Errorf("one of %d launches, the last of them %s: %w", len(d.launched), d.launched[len(d.launched)-1], err)
	}
	if err != nil {
		err = fmt.Errorf("after %v: %w", d.doing, err)
	}
	d.launched = d.launched[:0]
	d.fail(err)
}

// Close frees everything.
func (d *Device) Close() error {
	if d.driver == nil {
		return nil
	}
	d.collect()
	err := errors.Join(d.lost, d.driver.Close())
	d.driver = nil
	if d.err == nil {
		d.err = errors.New("cuda: the device is closed")
	}
	return err
}

// fail keeps the first failure. One of memory says what there is.
func (d *Device) fail(err error) {
	if d.err == nil && err != nil {
		if errors.Is(err, driver.ErrMemory) && !errors.Is(err, device.ErrMemory) {
			err = fmt.Errorf("%w: %w, have %s", device.ErrMemory, err, d.free())
		}
		if !strings.HasPrefix(err.Error(), "cuda: ") {
			err = fmt.Errorf("cuda: %w", err)
		}
		d.err = err
	}
}

// failed keeps a failure and gives the first one.
func (d *Device) failed(err error) error {
	d.fail(err)
	return d.err
}

// buffer is memory of the device: rows of cols elements of size bytes, pitch
// elements apart. It is freed when nothing refers to it.
type buffer struct {
	p          pointer
	rows, cols int
	pitch      int // elements
	size       int // bytes of an element
	half       checkpoint.DType

	allocated int64 // bytes
	device    *Device
	cleanup   runtime.Cleanup // of memory that nobody freed
}

// Free: see device.Buffer.
func (b *buffer) Free() {
	if b.p == 0 {
		return
	}
	b.cleanup.Stop()
	b.device.freeMemory(b.p, b.allocated)
	b.p = 0
}

func (b *buffer) Rows() int    { return b.rows }
func (b *buffer) Cols() int    { return b.cols }
func (b *buffer) bytes() int64 { return int64(b.rows) * int64(b.pitch) * int64(b.size) }

// row is where row r starts.
func (b *buffer) row(r int) pointer { return b.p + pointer(r*b.pitch*b.size) }

// collect frees what the collector found.
func (d *Device) collect() {
	d.mu.Lock()
	list, given := d.garbage, d.given
	d.garbage, d.given = nil, nil
	d.mu.Unlock()
	for _, o := range given {
		o.giveBack()
	}
	for _, p := range list {
		if err := d.driver.Free(p); err != nil && d.lost == nil {
			d.lost = err
			d.fail(err)
		}
	}
}

// alloc makes a buffer of undefined contents; see memory.
func (d *Device) alloc(rows, cols, pitch, size int) (*buffer, error) {
	if rows < 0 || cols < 0 || pitch < cols {
		return nil, fmt.Errorf("cuda: buffer: want a size of 0 or more, got [%d %d]", rows, cols)
	}
	b := &buffer{rows: rows, cols: cols, pitch: pitch, size: size, half: d.typeFor(checkpoint.F32)}
	n := max(b.bytes(), 1)
	var err error
	if b.p, err = d.memory(n, fmt.Sprintf("[%d %d]", rows, cols)); err != nil {
		return nil, err
	}
	b.device, b.allocated = d, n
	b.cleanup = runtime.AddCleanup(b, func(p pointer) {
		d.mu.Lock()
		d.garbage, d.used = append(d.garbage, p), d.used-n
		d.mu.Unlock()
	}, b.p)
	return b, nil
}

// freeMemory gives back n bytes that memory gave.
func (d *Device) freeMemory(p pointer, n int64) {
	if d.driver == nil {
		return // all was freed by Close
	}
	d.mu.Lock()
	d.used -= n
	d.mu.Unlock()
	d.fail(d.driver.Free(p))
}

// memory is n bytes for something. Where there is no room, what the collector finds
// unused and slabs without a page in use are freed first; then the failure is the
// caller's to report, and the device stays usable.
func (d *Device) memory(n int64, what string) (pointer, error) {
	if d.err != nil {
		return 0, d.err
	}
	d.collect()
	p, err := d.driver.Alloc(n)
	for try := 0; errors.Is(err, driver.ErrMemory) && try < 5; try++ {
		runtime.GC()
		time.Sleep(time.Millisecond << try) // cleanups run on a goroutine of their own
		d.collect()
		d.shrink()
		p, err = d.driver.Alloc(n)
	}
	if errors.Is(err, driver.ErrMemory) {
		return 0, fmt.Errorf("cuda: %w: want %d bytes for %s, have %s", device.ErrMemory, n, what, d.free())
	}
	if err != nil {
		return 0, d.failed(fmt.Errorf("%v: %d bytes for %s: %w", d.doing, n, what, err))
	}
	d.mu.Lock()
	d.used += n
	d.peak = max(d.peak, d.used)
	d.mu.Unlock()
	return p, nil
}

// PeakBytes is the most memory that was allocated at a time.
func (d *Device) PeakBytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peak
}

// free says how much there is.
func (d *Device) free() string {
	free, err := d.driver.FreeMemory()
	if err != nil {
		return err.Error()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("%d free of %d, %d used by this process", free, d.info.Total, d.used)
}

// zeroed is alloc and clear.
func (d *Device) zeroed(rows, cols, pitch, size int) (*buffer, error) {
	b, err := d.alloc(rows, cols, pitch, size)
	if err != nil {
		return nil, err
	}
	if err := d.driver.Clear(b.p, b.bytes()); err != nil {
		return nil, d.failed(fmt.Errorf("%v: clearing [%d %d]: %w", d.doing, rows, cols, err))
	}
	return b, nil
}

// Buffer makes a float32 array, rows padded to 128 bytes.
func (d *Device) Buffer(rows, cols int) (device.Buffer, error) {
	d.begin("buffer")
	return orNil(d.zeroed(rows, cols, max(roundUp(cols, 32), 32), 4))
}

// Activations makes 16-bit arrays, one for each width, rows padded to 128 bytes with
// zeros. Arrays of different widths share no memory, since each would leave its numbers
// in the other's padding.
func (d *Device) Activations(rows int, widths []int) ([]device.Buffer, error) {
	d.begin("activations")
	byWidth := map[int]*buffer{}
	out := make([]device.Buffer, len(widths))
	for l, w := range widths {
		if byWidth[w] == nil {
			b, err := d.zeroed(rows, w, pitch(w), 2)
			if err != nil {
				return nil, err
			}
			byWidth[w] = b
		}
		out[l] = byWidth[w]
	}
	return out, nil
}

func orNil(b *buffer, err error) (device.Buffer, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// need is a buffer of the device's own of at least n bytes, kept under a name;
// zero says that a new one starts as zeros.
func (d *Device) need(name string, n int, zero bool) pointer {
	b := d.scratch[name]
	if b == nil || b.cols < n {
		n = max(roundUp(n, 256), 256)
		make := d.alloc
		if zero {
			make = d.zeroed
		}
		var err error
		if b, err = make(1, n, n, 1); err != nil {
			d.fail(fmt.Errorf("%w, for %q of an operation", err, name))
			return 0
		}
		d.scratch[name] = b
	}
	d.keep(b)
	return b.p
}

// keep holds on to a buffer for as long as a step that is being recorded lives.
func (d *Device) keep(b *buffer) {
	if d.recorder != nil {
		d.recorder.kept = append(d.recorder.kept, b)
	}
}

// upload fills a buffer without padding.
func (d *Device) upload(b *buffer, v []byte) { d.send(b.p, v, fmt.Sprintf("[%d %d]", b.rows, b.cols)) }

// send uploads bytes for something.
func (d *Device) send(p pointer, v []byte, what string) {
	if d.err != nil || len(v) == 0 {
		return
	}
	if err := d.driver.Upload(p, len(v), v, len(v)); err != nil {
		d.fail(fmt.Errorf("%v: upload of %d bytes, %s: %w", d.doing, len(v), what, err))
	}
}

// put uploads a slice to a buffer of the device's own.
func put[T any](d *Device, name string, s []T) pointer {
	b := raw(s)
	p := d.need(name, len(b), false)
	d.send(p, b, name)
	return p
}

// get downloads n elements.
func get[T any](d *Device, p pointer, n int) []T {
	out := make([]T, n)
	if d.err != nil || n == 0 {
		return out
	}
	err := d.driver.Download(raw(out), p)
	if err != nil {
		err = fmt.Errorf("download of %d numbers: %w", n, err)
	}
	d.waited(err)
	return out
}

// raw is a slice's bytes.
func raw[T any](s []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(t)))
}

// launch queues a kernel of an operation; what is wrong names both and the
// arguments' shape.
func (d *Device) launch(kernel string, grid [3]int, threads, shared int, args ...any) {
	d.queue(driver.Call{Kernel: kernel, Grid: grid, Threads: threads, Shared: shared}, args...)
}

// queue is launch of a call without its arguments; tensor maps come first of them.
func (d *Device) queue(c driver.Call, args ...any) {
	if d.err != nil || c.Grid[0] == 0 || c.Grid[1] == 0 || c.Grid[2] == 0 {
		return
	}
	c.Slots = make([]uint64, 0, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case driver.TensorMap:
			c.Slots = append(c.Slots, v[:]...)
			c.Maps++
		case pointer:
			c.Slots = append(c.Slots, uint64(v))
		case int:
			if v != int(int32(v)) {
				d.fail(fmt.Errorf("%s: argument %d: want a number of 32 bits, got %d", c.Kernel, i, v))
				return
			}
			c.Slots = append(c.Slots, uint64(uint32(int32(v))))
		case uint64:
			c.Slots = append(c.Slots, v)
		case float32:
			c.Slots = append(c.Slots, uint64(math.Float32bits(v)))
		default:
			d.fail(fmt.Errorf("%s: argument %d has no slot", c.Kernel, i))
			return
		}
	}
	if d.recorder != nil {
		d.recorder.calls = append(d.recorder.calls, c)
		return
	}
	d.launched = append(d.launched, c.Kernel)
	if err := d.driver.Launch(c); err != nil {
		sizes := slices.DeleteFunc(slices.Clone(args[c.Maps:]), func(a any) bool { _, address := a.(pointer); return address })
		d.fail(fmt.Errorf("%s: grid %v, %d threads, %d bytes shared, arguments %v: in %v: %w", c.Kernel, c.Grid, c.Threads, c.Shared, sizes, d.doing, err))
	}
}

// suffix names a 16-bit type in a kernel's name.
func suffix(t checkpoint.DType) string {
	if t == checkpoint.F16 {
		return "f16"
	}
	return "bf16"
}
