//go:build cuda

package cuda

import (
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// orders: a GPU draws its own order of threads. With -short there is one.
var orders = []uint64{1, 1}

// ordersOfLargeShape returns all: a GPU is fast.
func ordersOfLargeShape(int) []uint64 { return orders }

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		orders = orders[:1]
	}
	os.Exit(m.Run())
}

// one device for all tests of a set: opening one compiles every kernel that is used.
var gpus = map[string]*Device{}

// sets returns the sets of kernels that the GPU can run, the default first: for compute
// capability 9.0 sm_90a and sm_90.
func sets(t testing.TB) []string {
	t.Helper()
	all, err := Devices()
	if err != nil || len(all) == 0 {
		t.Fatal("no device", err)
	}
	if own := driver.SetsOf(all[0].Set); own[0] == driver.SM90a {
		return own[:2]
	}
	return []string{all[0].Set}
}

func open(t testing.TB, order uint64) *Device { return openSet(t, order, sets(t)[0]) }

func openSet(t testing.TB, _ uint64, set string) *Device {
	t.Helper()
	if gpus[set] == nil {
		d, err := OpenSet(0, set)
		if err != nil {
			t.Fatal(err)
		}
		gpus[set] = d
	}
	d := gpus[set]
	// As new, but for a failure: one that an earlier test left is to show.
	d.computeType, d.loggedRoundings = checkpoint.F32, map[[2]checkpoint.DType]bool{}
	return d
}

// All GPUs of the machine compute the same bits at the same time. An index that is too large
// is refused.
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
