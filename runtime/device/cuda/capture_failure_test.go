//go:build cuda && cudalibemu

package cuda

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// Errors of cuda.h.
const (
	outOfMemory  = "2"
	notSupported = "801"
	unsupported  = "900" // by a capture
	otherFailure = "719"
)

// Features that a driver does not support in graphs are left out, and only those. A failed
// capture leaks nothing and ends the stream's capture.
func TestCaptureFailures(t *testing.T) {
	d := open(t, 1)
	g := d.driver.(*driver.GPU)
	b, err := d.alloc(1, 64, 64, 2)
	if err != nil {
		t.Fatal(err)
	}
	d.recorder = &recorder{n: 1}
	for range 2 {
		d.launch("fill_random_bf16", [3]int{1, 1, 1}, 256, 0, b.p, 64, 64, uint64(7), float32(1))
	}
	calls := d.recorder.calls
	d.recorder = nil
	free := func() int64 {
		n, err := d.driver.FreeMemory()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const overlap, instantiate = "EMULATED_OVERLAP_IN_GRAPHS", "EMULATED_GRAPHS"
	for _, c := range []struct {
		call, error string
		done        bool // without overlap
	}{
		{overlap, notSupported, true},
		{overlap, unsupported, true},
		{overlap, otherFailure, false},
		{overlap, outOfMemory, false},
		{instantiate, outOfMemory, false},
		{instantiate, otherFailure, false},
	} {
		t.Run(c.call+" "+c.error, func(t *testing.T) {
			before := free()
			g.Overlap = true
			defer func() { g.Overlap = true }()
			t.Setenv(c.call, c.error)
			r, err := g.Record(calls)
			if g.Overlap == c.done {
				t.Errorf("want overlapping launches given up: %v", c.done)
			}
			if (err == nil) != c.done {
				t.Fatalf("want it done: %v, got %v", c.done, err)
			}
			if !c.done && !strings.Contains(err.Error(), "CUDA_ERROR_"+c.error) {
				t.Errorf("want error %s, got %v", c.error, err)
			}
			if errors.Is(err, driver.ErrMemory) != (c.error == outOfMemory) {
				t.Errorf("want %v told apart, got %v", driver.ErrMemory, err)
			}
			if c.done {
				if err := d.driver.Clear(b.p, 128); err != nil {
					t.Fatal(err)
				}
				take, err := r.Run(b.p, 128)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 128)
				if err := take(got); err != nil || fmt.Sprint(got) == fmt.Sprint(make([]byte, 128)) {
					t.Errorf("want the launches run, got %v, %v", got, err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if after := free(); after != before {
				t.Errorf("want all memory back, got %d bytes less", before-after)
			}
			if err := d.Sync(); err != nil {
				t.Errorf("want a stream that works, got %v", err)
			}
		})
	}
	// A step for which there is no memory fails alone.
	t.Setenv(instantiate, outOfMemory)
	rows, err := d.NewDecodeRows(1, 1, 8)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Capture(rows, 1, 8, func() {}); !errors.Is(err, device.ErrMemory) || !strings.Contains(err.Error(), "a step of 0 launches, have ") {
		t.Errorf("want %v with what is free, got %v", device.ErrMemory, err)
	}
	if err := d.Sync(); err != nil {
		t.Errorf("want a device that works, got %v", err)
	}
}
