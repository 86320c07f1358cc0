//go:build cuda || cudaemu

package cuda

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// A matrix of any stored type is quantized to the same integers and scales as on the host,
// and its rows are padded with zeros.
func TestInt8Rounding(t *testing.T) {
	for _, o := range orders {
		int8Rounding(t, open(t, o))
	}
}

func int8Rounding(t *testing.T, d *Device) {
	for _, dt := range []checkpoint.DType{checkpoint.BF16, checkpoint.F16, checkpoint.F32} {
		for _, s := range [][2]int{{1, 1}, {5, 127}, {3, 128}, {4, 331}, {2, 9941}} {
			r := rand.New(rand.NewPCG(uint64(s[1]), 1))
			m := matrix{rows: s[0], cols: s[1], v: normal(r, s[0]*s[1]), t: dt}
			for j := range s[1] {
				switch m.v[j] *= 1e-3; {
				case s[0] > 3: // a row of zeros; one of subnormal numbers
					m.v[s[1]+j], m.v[2*s[1]+j] = 0, m.v[j]*0x1p-120
				}
			}
			data := m.bytes()
			if dt == checkpoint.F32 {
				data = nil
				for _, v := range m.v {
					data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
				}
			}
			tensor := checkpoint.Tensor{Name: "w", DType: dt, Shape: []int{s[0], s[1]}, Data: data}
			w, err := d.Place(tensor, device.PlaceOptions{Int8: true})
			if err != nil {
				t.Fatal(err)
			}
			b := w.(*weight)
			if want := int64(s[0] * (s[1] + 4)); w.Bytes() != want {
				t.Errorf("%v %v: want %d bytes, got %d", dt, s, want, w.Bytes())
			}
			got, scales := download[int8](d, b.p, s[0]*b.pitch), download[float32](d, b.scales(0), s[0])
			x, q := checkpoint.Float32s(tensor), make([]int8, s[1])
			for i := range s[0] {
				if scale := device.QuantizeRow(q, x[i*s[1]:(i+1)*s[1]]); scale != scales[i] {
					t.Fatalf("%v %v: row %d: want scale %g, got %g", dt, s, i, scale, scales[i])
				}
				for j := range b.pitch {
					want := int8(0)
					if j < s[1] {
						want = q[j]
					}
					if v := got[i*b.pitch+int8Index(j)]; v != want {
						t.Fatalf("%v %v: [%d %d]: want %d, got %d", dt, s, i, j, want, v)
					}
				}
			}
		}
	}
	bad := matrix{rows: 3, cols: 9, v: make([]float64, 27), t: checkpoint.BF16}
	for _, v := range []float64{math.Inf(1), math.NaN()} {
		bad.v[17] = v
		if _, err := d.Place(checkpoint.Tensor{Name: "w", DType: checkpoint.BF16, Shape: []int{3, 9}, Data: bad.bytes()}, device.PlaceOptions{Int8: true}); err == nil || !strings.Contains(err.Error(), "w: row 1: a weight is not finite") {
			t.Errorf("%v: got %v", v, err)
		}
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}
