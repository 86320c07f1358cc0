//go:build cuda

package cuda

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// orders: a GPU draws its own order of threads.
var orders = []uint64{1, 1}

// one device for all tests: opening one compiles every kernel that is used.
var gpuOnce = sync.OnceValues(func() (*Device, error) { return Open(0) })

func open(t testing.TB, _ uint64) *Device {
	t.Helper()
	d, err := gpuOnce()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Every GPU there is computes, beside the others, to the same bits; the one behind the
// last is refused.
func TestEveryDevice(t *testing.T) {
	all, err := Devices()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(len(all)); err == nil {
		t.Errorf("want device %d refused", len(all))
	}
	var want []float32
	var devices []*Device
	for i := range all {
		d, err := Open(i)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		devices = append(devices, d)
	}
	for i, d := range devices {
		r := rand.New(rand.NewPCG(1, 2))
		w, a := randomMatrix(r, 33, 70, checkpoint.BF16).place(t, d, false), randomMatrix(r, 5, 70, checkpoint.BF16).inner(t, d)
		y := floats(t, d, 5, 33, nil)
		d.Linear(device.Prefill, y, a, 5, w)
		got := read(d, y)
		if err := d.Sync(); err != nil {
			t.Fatalf("device %d: %v", i, err)
		}
		if all[i].Name == all[0].Name && want != nil && !slices.Equal(got, want) {
			t.Errorf("device %d: want the bits of device 0", i)
		}
		if i == 0 {
			want = got
		}
	}
}
