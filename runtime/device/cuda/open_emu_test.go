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

// orders are the seeds of the threads' order that every kernel is tried with.
var orders = []uint64{1, 2, 3}

// sets are those of the kernels that can be tried, the usual one first.
func sets(testing.TB) []string { return []string{driver.SM80, driver.SM90a} }

// open starts a device for a test; at its end the fences around every buffer must
// be intact.
func open(t testing.TB, order uint64) *Device { return openSet(t, order, driver.SM80) }

// openSet starts one with a set of kernels.
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

// tried is the emulation, of which it is noted which kernels ran under which order.
type tried struct {
	*driver.Emulated
	order uint64
}

var triedUnder = map[string][]uint64{} // orders by kernel

func (e tried) note(kernel string) {
	if under := triedUnder[kernel]; !slices.Contains(under, e.order) {
		triedUnder[kernel] = append(under, e.order)
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

// All tests together try every kernel under every order.
func TestMain(m *testing.M) {
	code := m.Run()
	whole := !testing.Short()
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		whole = whole && flags.Lookup(name).Value.String() == ""
	}
	if whole {
		if err := allTried(); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}

// allTried names the kernels that some order has not met.
func allTried() error {
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
				if !slices.Contains(triedUnder[name], o) {
					missing[name] = true
				}
			}
		}
	}
	var list []string
	for name := range missing {
		list = append(list, fmt.Sprintf("%s: want it tried under orders %v, got %v", name, orders, triedUnder[name]))
	}
	slices.Sort(list)
	if len(list) > 0 {
		return fmt.Errorf("%s", strings.Join(list, "\n"))
	}
	return nil
}
