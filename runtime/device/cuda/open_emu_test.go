//go:build cudaemu && !cuda

package cuda

import "testing"

// orders are the seeds of the threads' order that every kernel is tried with.
var orders = []uint64{1, 2, 3}

// sets are those of the kernels that can be tried, the usual one first.
func sets(testing.TB) []string { return []string{setSM80, setSM90a} }

// open starts a device for a test; at its end the fences around every buffer must
// be intact.
func open(t testing.TB, order uint64) *Device { return openSet(t, order, setSM80) }

// openSet starts one with a set of kernels.
func openSet(t testing.TB, order uint64, set string) *Device {
	t.Helper()
	d := openEmulated(order, 1<<30, set)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
