package cpu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mop/internal/files"
	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// growStack needs more stack than a goroutine begins with.
func growStack(n int) byte {
	var a [1024]byte
	if n > 0 {
		a[n] = growStack(n - 1)
	}
	return a[n/2]
}

// A weights file that becomes shorter while it is mapped is an error of whoever called
// the operation, from the kernels of every set, whichever worker met it, with the stack
// moved and the garbage collected on the way; the device then works as before.
func TestTruncatedWeightsFile(t *testing.T) {
	const n, D, I = 2, 259, 1021
	best, _ := kernel.Choose("auto")
	whole := &buffer{make([]float32, n*I), n, I}
	for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		raw := randomBytes(dt, []int{I, D})
		path := filepath.Join(t.TempDir(), "w")
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := files.MapPath(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Unmap()
		if err := os.Truncate(path, int64(len(raw)/3)); err != nil {
			t.Skip(err) // a system that holds mapped files
		}
		for set := kernel.Generic; set <= best; set++ {
			for _, threads := range []int{1, 2, 3} {
				d, err := Open(Options{Threads: threads, Kernels: set.String()})
				if err != nil {
					t.Fatal(err)
				}
				for i := range 4 {
					kind, o := device.Phase(i%2), device.PlaceOptions{BF16Activations: i >= 2}
					multiply := func(data []byte) (err error) {
						defer files.Guard()()
						defer files.Catch(&err)
						defer func() { runtime.GC(); growStack(200) }()
						w, err := d.Place(checkpoint.Tensor{Name: "w", DType: dt, Shape: []int{I, D}, Data: data}, o)
						if err != nil {
							return err
						}
						d.Linear(kind, whole, randomBuffer(1, n, D), n, w)
						return nil
					}
					what := fmt.Sprintf("%v %v %v threads %d case %d", set, kind, dt, threads, i)
					done := make(chan error)
					go func() { done <- multiply(m) }() // a goroutine of its own begins with a small stack
					if err := <-done; !errors.Is(err, files.ErrFault) || !strings.HasPrefix(err.Error(), path+": ") {
						t.Fatalf("%s: want %v of %s, got %v", what, files.ErrFault, path, err)
					}
					if err := multiply(raw); err != nil {
						t.Fatalf("%s: afterwards: %v", what, err)
					}
				}
				d.Close()
			}
		}
	}
}
