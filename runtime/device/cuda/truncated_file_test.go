//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/files"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// If a weights file becomes shorter while it is mapped, placing one of its tensors is an error:
// as stored, in another type and in 8 bits. The device then works as before.
func TestTruncatedWeightsFile(t *testing.T) {
	const out, in = 1021, 259
	for _, c := range []struct{ stored, in checkpoint.DType }{
		{checkpoint.BF16, checkpoint.F32}, {checkpoint.F16, checkpoint.F32}, {checkpoint.F32, checkpoint.F32}, {checkpoint.F32, checkpoint.F16}, {checkpoint.F16, checkpoint.BF16},
	} {
		data := make([]byte, out*in*c.stored.Size())
		path := filepath.Join(t.TempDir(), "w")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := files.MapPath(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Unmap()
		if err := os.Truncate(path, int64(len(data)/3)); err != nil {
			t.Skip(err) // a system that holds mapped files
		}
		for _, eight := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v in %v, int8 %v", c.stored, c.in, eight), func(t *testing.T) {
				d := open(t, orders[0])
				d.SetComputeType(c.in)
				try := func(data []byte) (w device.Weight, err error) {
					defer files.Guard()()
					defer files.Catch(&err)
					return d.Place(checkpoint.Tensor{Name: "w", DType: c.stored, Shape: []int{out, in}, Data: data}, device.PlaceOptions{Int8: eight})
				}
				if _, err := try(m); !errors.Is(err, files.ErrFault) || !strings.HasPrefix(err.Error(), path+": ") {
					t.Fatalf("want %v of %s, got %v", files.ErrFault, path, err)
				}
				if _, err := try(data); err != nil {
					t.Fatalf("afterwards: %v", err)
				}
				if err := d.Sync(); err != nil {
					t.Fatalf("afterwards: %v", err)
				}
			})
		}
	}
}
