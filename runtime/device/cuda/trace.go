//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

var _ device.Tracer = (*Device)(nil)

// work is what a launch must at least do; see device.Launch.
type work struct{ flops, bytes, cache float64 }

// expect sets the work of the next launch, for traces.
func (d *Device) expect(w work) { d.nextWork = w }

// productWork is that of y [n, out] = x [n, in] W: tiles of rows of x by cols rows of W, whose
// elements have size bytes, and bytes that are read or written besides.
func productWork(n, in, out, rows, cols, size int, besides float64) work {
	if n == 0 || out == 0 { // a layer without heads or neurons
		return work{}
	}
	N, I, O := float64(n), float64(in), float64(out)
	return work{2 * N * I * O, float64(size)*I*O + 2*N*I + besides, I * (2*N*float64(ceilDiv(out, cols)) + float64(size)*O*float64(ceilDiv(n, rows)))}
}

// rowWork is that of an operation which reads or writes n rows of cols float32 numbers so many
// times.
func rowWork(times, n, cols int) work {
	return work{bytes: 4 * float64(times) * float64(n) * float64(cols)}
}

// traced is a launch of a trace, without its time.
type traced struct {
	kernel string
	grid   [3]int
	work   work
}

// trace adds a launch to the trace, if there is one.
func (d *Device) trace(kernel string, grid [3]int, w work) {
	if d.tracing {
		d.traceLaunches = append(d.traceLaunches, traced{kernel, grid, w})
	}
}

// clearTimed zeroes memory as a launch that a trace counts.
func (d *Device) clearTimed(p pointer, bytes int64) error {
	if d.tracing {
		return d.driver.(driver.Timer).ClearTimed(p, bytes)
	}
	return d.driver.Clear(p, bytes)
}

// StartTrace: see device.Tracer.
func (d *Device) StartTrace() error {
	t, ok := d.driver.(driver.Timer)
	if !ok {
		return fmt.Errorf("cuda: %s: launches cannot be timed", d.info.Name)
	}
	if err := d.Sync(); err != nil {
		return err
	}
	if err := t.StartTiming(); err != nil {
		return fmt.Errorf("cuda: timing launches: %w", err)
	}
	d.tracing, d.traceLaunches = true, nil
	return nil
}

// StopTrace: see device.Tracer.
func (d *Device) StopTrace() ([]device.Launch, error) {
	if !d.tracing {
		return nil, errors.New("cuda: want a trace that was started")
	}
	launches := d.traceLaunches
	d.tracing, d.traceLaunches = false, nil
	times, err := d.driver.(driver.Timer).StopTiming()
	if err := errors.Join(d.Sync(), err); err != nil {
		return nil, fmt.Errorf("cuda: timing launches: %w", err)
	}
	if len(times) != len(launches) {
		return nil, fmt.Errorf("cuda: timing launches: want the times of %d, got %d", len(launches), len(times))
	}
	out := make([]device.Launch, len(times))
	for i, l := range launches {
		out[i] = device.Launch{Kernel: l.kernel, Grid: l.grid, Time: times[i], Flops: l.work.flops, Bytes: l.work.bytes, CacheBytes: l.work.cache}
	}
	return out, nil
}

// Limits: see device.Tracer. Tensor cores multiply and add 1024 pairs of numbers of 16 bits a
// clock and multiprocessor on compute capability 8.0, 2048 on 9.0, 4096 on 10.x, and 512 on
// others (NVIDIA's tables of dense rates).
func (d *Device) Limits() (device.Limits, error) {
	bytes, err := d.CopyBandwidth()
	if err != nil {
		return device.Limits{}, err
	}
	pairs := 512.0
	switch {
	case d.info.Major == 8 && d.info.Minor == 0:
		pairs = 1024
	case d.info.Major == 9:
		pairs = 2048
	case d.info.Major == 10:
		pairs = 4096
	}
	return device.Limits{BytesPerSecond: bytes, FlopsPerSecond: 2 * pairs * float64(d.info.SMs) * float64(d.info.ClockKHz) * 1e3, ClockMHz: float64(d.info.ClockKHz) / 1e3}, nil
}
