//go:build cuda

package cuda

import (
	"sync"
	"testing"
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
