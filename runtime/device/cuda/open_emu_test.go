//go:build cudaemu && !cuda

package cuda

import (
	flags "flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/device/cuda/driver"
)

// orders are the seeds of the thread orders that every kernel is tested with; with -short the
// first one only.
var orders = []uint64{1, 2, 3}

var everyOrder = flags.Bool("every-order", false, "test large shapes under every thread order, which takes three times as long")

// ordersOfLargeShape returns the thread orders of a test that takes long: one of them, by its
// number, so that the types and sets of a shape meet all of them together. That every kernel
// runs under every order is checked at the end.
func ordersOfLargeShape(i int) []uint64 {
	if *everyOrder {
		return orders
	}
	return orders[i%len(orders):][:1]
}

// sets returns the sets of kernels that are tested, the default first.
func sets(testing.TB) []string { return []string{driver.SM80, driver.SM90a} }

// open starts a device for a test. At the end of the test the guard bytes around every buffer
// must be intact.
func open(t testing.TB, order uint64) *Device { return openSet(t, order, driver.SM80) }

// openSet starts a device with a set of kernels.
func openSet(t testing.TB, order uint64, set string) *Device {
	t.Helper()
	d := openEmulated(order, 1<<30, set)
	d.driver = tried{d.driver.(*driver.Emulated), order}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// tried is the emulation, and records which kernels ran under which thread order.
type tried struct {
	*driver.Emulated
	order uint64
}

var coveredOrders = map[string][]uint64{} // orders by kernel

func (e tried) note(kernel string) {
	if under := coveredOrders[kernel]; !slices.Contains(under, e.order) {
		coveredOrders[kernel] = append(under, e.order)
	}
}

func (e tried) Launch(c driver.Call) error {
	e.note(c.Kernel)
	return e.Emulated.Launch(c)
}

func (e tried) Record(calls []driver.Call) (driver.Recording, error) {
	for _, c := range calls {
		e.note(c.Kernel)
	}
	return e.Emulated.Record(calls)
}

// All tests together run every kernel under every thread order.
func TestMain(m *testing.M) {
	flags.Parse()
	if testing.Short() {
		orders = orders[:1]
	}
	code := m.Run()
	whole := !testing.Short()
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		whole = whole && flags.Lookup(name).Value.String() == ""
	}
	if whole {
		if err := checkCoverage(); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}

// checkCoverage returns an error with the kernels that were not run under every thread order.
func checkCoverage() error {
	files, err := filepath.Glob("../../../kernels/cuda/ptx/*/*.ptx")
	if err != nil || len(files) == 0 {
		return fmt.Errorf("want the kernels' PTX, got %v, %v", files, err)
	}
	missing := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		for name := range driver.Sources(filepath.Base(f), string(text)) {
			for _, o := range orders {
				if !slices.Contains(coveredOrders[name], o) {
					missing[name] = true
				}
			}
		}
	}
	var list []string
	for name := range missing {
		list = append(list, fmt.Sprintf("%s: want it tried under orders %v, got %v", name, orders, coveredOrders[name]))
	}
	slices.Sort(list)
	if len(list) > 0 {
		return fmt.Errorf("%s", strings.Join(list, "\n"))
	}
	return nil
}
