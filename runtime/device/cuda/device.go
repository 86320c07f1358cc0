//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// pointer is an address in device memory.
type pointer = driver.Pointer

// Device is one GPU. Only one goroutine may use it at a time.
type Device struct {
	driver          driver.Driver
	info            Info
	limits          deviceLimits
	tilePrices      map[string]int               // costs of the tiles of wgmma on this GPU
	err             error                        // the first failure; later operations do nothing
	computeType     checkpoint.DType             // of all weights that are placed from now on; F32: see typeFor
	loggedRoundings map[[2]checkpoint.DType]bool // pairs of types whose rounding was logged

	launchedKernels  []string  // since the last wait
	currentOperation operation // the one that errors name
	recorder         *recorder // takes the launches while a decode graph is captured, otherwise nil

	tracing       bool     // every launch is timed
	traceLaunches []traced // those so far
	nextWork      work     // of the next launch

	used int64 // bytes that are allocated now
	peak int64 // largest value of used

	placedSpans []device.Span // the spans whose positions and query tiles are in scratch
	placedRows  int           // queries of those tiles
	queryTiles  int           // query tiles of placedSpans, for prefill attention
	pass        spanTables    // spans of the training pass
	scratch     [scratchCount]*buffer
	pools       map[int64]*pagePool // by page size in bytes
	ropeTables  []*ropeTable
	int8KV      bool              // NewKVCache makes caches of 8 bits
	staged      map[int]*stagedKV // for those, by the size of a page
	gathered    gatheredRoPE
}

var (
	_ device.PreciseCacher = (*Device)(nil)
	_ device.CacheTyper    = (*Device)(nil)
)

func newDevice(g driver.Driver) *Device {
	i := g.Info()
	return &Device{driver: g, info: i, limits: deviceLimits{sms: i.SMs, shared: i.Shared}, tilePrices: tilePrices(i.Name), loggedRoundings: map[[2]checkpoint.DType]bool{}, pools: map[int64]*pagePool{}, staged: map[int]*stagedKV{}}
}

// Capabilities: see device.Device. Threads is 1 because the host only launches kernels.
func (d *Device) Capabilities() device.Capabilities {
	c := device.Capabilities{Name: "cuda", Hardware: d.info.Name, Threads: 1, PrefillRows: prefillRows, TrainRows: prefillRows, CacheType: "16-bit", CacheElementBytes: 2,
		Int8Weights: true, SingleType: true}
	if d.int8KV {
		c.CacheType, c.CacheElementBytes, c.CacheScaleBytes = "int8", 1, scaleBytes
	}
	return c
}

// prefillRows is 16 times the rows of the 128x128 tile.
const prefillRows = 2048

// Info describes the GPU.
func (d *Device) Info() Info { return d.info }

// Sync waits for all queued work and returns the first failure. After a failure of memory
// the results of the pass are invalid, and the device can be used again.
func (d *Device) Sync() error {
	if d.err == nil {
		d.checkWait(d.driver.Sync())
	}
	return d.takeError()
}

// takeError returns the first failure. A failure of memory is cleared.
func (d *Device) takeError() error {
	err := d.err
	if errors.Is(err, device.ErrMemory) {
		d.err = nil
		d.placedSpans, d.pass, d.gathered = nil, spanTables{}, gatheredRoPE{} // their upload may have failed
	}
	return err
}

// checkWait records the failure of a wait. Kernels fail asynchronously, so the error names
// the kernels that were launched since the wait before.
func (d *Device) checkWait(err error) {
	if err != nil && len(d.launchedKernels) > 0 {
		err = fmt.Errorf("one of %d launches, the last of them %s: %w", len(d.launchedKernels), d.launchedKernels[len(d.launchedKernels)-1], err)
	}
	if err != nil {
		err = fmt.Errorf("after %v: %w", d.currentOperation, err)
	}
	d.launchedKernels = d.launchedKernels[:0]
	d.fail(err)
}

// Close frees all memory and closes the driver.
func (d *Device) Close() error {
	if d.driver == nil {
		return nil
	}
	err := d.driver.Close()
	d.driver = nil
	if d.err == nil {
		d.err = errors.New("cuda: the device is closed")
	}
	return err
}

// fail records the first failure. A failure of memory also says how much is left.
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

// failWith records a failure and returns the first one.
func (d *Device) failWith(err error) error {
	d.fail(err)
	return d.err
}

// Buffer allocates a float32 buffer of zeros. Rows are padded to 128 bytes.
func (d *Device) Buffer(rows, cols int) (device.Buffer, error) {
	d.begin("buffer")
	return orNil(d.zeroed(rows, cols, max(roundUp(cols, 32), 32), 4))
}

// Activations allocates a 16-bit buffer for each width, with rows padded to 128 bytes.
// Equal widths share a buffer. Different widths do not share memory, because the padding of
// every buffer must stay zero.
func (d *Device) Activations(rows int, widths []int) ([]device.Buffer, error) {
	d.begin("activations")
	byWidth := map[int]*buffer{}
	out := make([]device.Buffer, len(widths))
	for l, w := range widths {
		if byWidth[w] == nil {
			b, err := d.zeroed(rows, w, rowPitch(w), 2)
			if err != nil {
				return nil, err
			}
			byWidth[w] = b
		}
		out[l] = byWidth[w]
	}
	return out, nil
}

// orNil returns a nil interface where there is an error.
func orNil(b *buffer, err error) (device.Buffer, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// uploadBuffer fills a buffer that has no padding.
func (d *Device) uploadBuffer(b *buffer, v []byte) {
	d.uploadBytes(b.p, v, fmt.Sprintf("[%d %d]", b.rows, b.cols))
}

// uploadBytes uploads bytes; what describes them in errors.
func (d *Device) uploadBytes(p pointer, v []byte, what string) {
	if d.err != nil || len(v) == 0 {
		return
	}
	if err := d.driver.Upload(p, len(v), v, len(v)); err != nil {
		d.fail(fmt.Errorf("%v: upload of %d bytes, %s: %w", d.currentOperation, len(v), what, err))
	}
}

// download waits for all queued work and copies n elements to the host.
func download[T any](d *Device, p pointer, n int) []T {
	out := make([]T, n)
	if d.err != nil || n == 0 {
		return out
	}
	err := d.driver.Download(bytesOf(out), p)
	if err != nil {
		err = fmt.Errorf("download of %d numbers: %w", n, err)
	}
	d.checkWait(err)
	return out
}

// bytesOf returns the memory of a slice as bytes.
func bytesOf[T any](s []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(t)))
}

// launch queues a kernel. Errors name the kernel, the operation and its operands.
func (d *Device) launch(kernel string, grid [3]int, threads, shared int, args ...any) {
	d.launchCall(driver.Call{Kernel: kernel, Grid: grid, Threads: threads, Shared: shared}, args...)
}

// launchCall converts the arguments, adds them to the call and queues it. Tensor maps must be
// the first arguments.
func (d *Device) launchCall(c driver.Call, args ...any) {
	w := d.nextWork
	d.nextWork = work{}
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
			d.fail(fmt.Errorf("%s: argument %d: type %T is not supported", c.Kernel, i, a))
			return
		}
	}
	if d.recorder != nil {
		d.recorder.calls, d.recorder.works = append(d.recorder.calls, c), append(d.recorder.works, w)
		return
	}
	d.launchedKernels = append(d.launchedKernels, c.Kernel)
	d.trace(c.Kernel, c.Grid, w)
	if err := d.driver.Launch(c); err != nil {
		sizes := slices.DeleteFunc(slices.Clone(args[c.Maps:]), func(a any) bool { _, address := a.(pointer); return address })
		d.fail(fmt.Errorf("%s: grid %v, %d threads, %d bytes shared, arguments %v: in %v: %w", c.Kernel, c.Grid, c.Threads, c.Shared, sizes, d.currentOperation, err))
	}
}

// suffix returns the name of a 16-bit type in kernels' names.
func suffix(t checkpoint.DType) string {
	if t == checkpoint.F16 {
		return "f16"
	}
	return "bf16"
}
