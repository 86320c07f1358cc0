//go:build cudaemu && !cuda

package cuda

import "testing"

// orders are the seeds of the threads' order that every kernel is tried with.
var orders = []uint64{1, 2, 3}

// open starts a device for a test; at its end the fences around every buffer must
// be intact.
func open(t testing.TB, order uint64) *Device {
	t.Helper()
	d, err := OpenEmulated(order, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
