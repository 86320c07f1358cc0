package cpu

import (
	"slices"
	"testing"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Weights that are not aligned to their elements give the results of aligned ones, with
// the kernels of every instruction set.
func TestUnalignedWeights(t *testing.T) {
	const n, D, I = 3, 259, 131
	best, _ := kernel.Choose("auto")
	for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		raw := randomBytes(dt, []int{I, D})
		for set := kernel.Generic; set <= best; set++ {
			d, err := Open(Options{Threads: 2, Kernels: set.String()})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for _, phase := range []device.Phase{0, 1} {
				var want []float32
				for shift := range 4 {
					data := append(make([]byte, shift, shift+len(raw)), raw...)[shift:]
					w, err := d.Place(checkpoint.Tensor{Name: "w", DType: dt, Shape: []int{I, D}, Data: data}, device.PlaceOptions{})
					if err != nil {
						t.Fatal(err)
					}
					out := &buffer{make([]float32, n*I), n, I}
					d.Linear(phase, out, randomBuffer(1, n, D), n, w)
					if shift == 0 {
						want = out.data
					} else if !slices.Equal(out.data, want) {
						t.Errorf("%v, %v, phase %d, %d bytes off: another result", dt, set, phase, shift)
					}
				}
			}
		}
	}
}
