//go:build cuda || cudaemu

package cuda

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
)

// captureLog returns a buffer that receives the log from now on.
func captureLog(t *testing.T) *bytes.Buffer {
	var b bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &b
}

// bits returns the bits of a weight on the device.
func bits(d *Device, w device.Weight) []uint16 {
	m := w.(*weight)
	var out []uint16
	for r, all := 0, download[uint16](d, m.p, m.rows*m.pitch); r < m.rows; r++ {
		out = append(out, all[r*m.pitch:r*m.pitch+m.cols]...)
	}
	return out
}

// Tensors of another type than the device's are rounded to nearest even, also those that are
// converted in parts. Rounding is logged once for each type. Weights that are generated on the
// device get the same bits.
func TestPlaceRounds(t *testing.T) {
	const V, D = 5000, 1003 // parts are of 2090 rows
	c := &config.Config{VocabSize: V, HiddenSize: D, HeadDim: 2}
	for _, to := range types {
		for _, from := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
			said := captureLog(t)
			d := open(t, 1)
			d.SetComputeType(to)
			src := checkpoint.Random(c, 3, from)
			x, err := src.Tensor(checkpoint.EmbedName)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]uint16, V*D)
			for i, v := range checkpoint.Float32s(x) {
				var b [2]byte
				checkpoint.Encode(b[:], to, v)
				want[i] = binary.LittleEndian.Uint16(b[:])
			}
			by := map[string]func() (device.Weight, error){"placed": func() (device.Weight, error) { return d.Place(x, device.PlaceOptions{}) }}
			if r, _ := src.(checkpoint.RandomSource).RandomSpec(checkpoint.EmbedName); from == to || from == checkpoint.F32 {
				by["made"] = func() (device.Weight, error) { return d.PlaceRandom(r, device.PlaceOptions{}) }
			} else if _, err := d.PlaceRandom(r, device.PlaceOptions{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s: want random weights of %v, which the device computes in here, got %v", r.Name, to, from)) {
				t.Errorf("%v made on a device of %v: got %v", from, to, err)
			}
			for how, f := range by {
				for range 2 {
					w, err := f()
					if err != nil {
						t.Fatal(err)
					}
					if got := w.(*weight).dtype; got != to {
						t.Fatalf("%v %s: want %v, got %v", from, how, to, got)
					}
					for i, b := range bits(d, w) {
						if b != want[i] {
							t.Fatalf("%v %s: row %d, column %d: want the bits %#x of %v, got %#x", from, how, i/D, i%D, want[i], to, b)
						}
					}
				}
			}
			note := fmt.Sprintf("%s weights are rounded for the device\" to=%s\n", from.ConfigName(), to.ConfigName())
			if n := strings.Count(said.String(), note); from == to && said.Len() > 0 || from != to && (n != 1 || strings.Count(said.String(), "\n") != 1) {
				t.Errorf("%v on a device of %v: want one note where they differ, got %q", from, to, said)
			}
		}
	}
}

// A weight that is too large for the type is refused. Infinities and NaN are kept.
func TestPlaceRefusesOverflow(t *testing.T) {
	d := open(t, 1)
	d.SetComputeType(checkpoint.F16)
	const cols = 1 << 20 // a part has 2 rows
	inf := float32(math.Inf(1))
	for _, from := range []checkpoint.DType{checkpoint.F32, checkpoint.BF16} {
		x := checkpoint.Tensor{Name: "w", DType: from, Shape: []int{3, cols}, Data: make([]byte, 3*cols*from.Size())}
		checkpoint.Encode(x.Data[5*from.Size():], from, inf)
		w, err := d.Place(x, device.PlaceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := widen(bits(d, w)[5], checkpoint.F16); got != inf {
			t.Errorf("%v: want an infinity kept, got %g", from, got)
		}
		checkpoint.Encode(x.Data[(2*cols+7)*from.Size():], from, -1e5)
		want := fmt.Sprintf("w: element %d: beyond the largest number of F16, which the device computes in here", 2*cols+7)
		if _, err := d.Place(x, device.PlaceOptions{}); err == nil || err.Error() != want {
			t.Errorf("%v: want %q, got %v", from, want, err)
		}
	}
}
