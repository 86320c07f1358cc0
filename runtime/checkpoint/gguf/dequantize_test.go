package gguf

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/x448/float16"

	"mop/runtime/checkpoint"
)

// Every type gives the values of the gguf package, to the last bit.
func TestDequantizeGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/blocks.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct{ Type, Raw, Values string }
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{"F32": true}
	for _, c := range golden.Cases {
		raw, err1 := base64.StdEncoding.DecodeString(c.Raw)
		values, err2 := base64.StdEncoding.DecodeString(c.Values)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		for kind, f := range formats {
			if f.name != c.Type {
				continue
			}
			tested[f.name] = true
			got := make([]float32, len(values)/4)
			if err := Dequantize(got, raw, kind); err != nil {
				t.Fatal(err)
			}
			for i, x := range got {
				if want := binary.LittleEndian.Uint32(values[4*i:]); math.Float32bits(x) != want {
					t.Fatalf("%s: element %d: want %v, got %v", c.Type, i, math.Float32frombits(want), x)
				}
			}
		}
	}
	for _, f := range formats {
		if !tested[f.name] {
			t.Errorf("%s: no golden blocks", f.name)
		}
	}
}

func TestDequantizeRefused(t *testing.T) {
	if err := Dequantize(make([]float32, 32), make([]byte, 33), Q8_0); !errors.Is(err, errBlocks) {
		t.Errorf("a byte short: got %v", err)
	}
	if err := Dequantize(make([]float32, 31), make([]byte, 34), Q8_0); !errors.Is(err, errBlocks) {
		t.Errorf("an element short: got %v", err)
	}
	if err := Dequantize(nil, nil, 10); err == nil || !strings.Contains(err.Error(), "Q2_K is not supported") {
		t.Errorf("Q2_K: got %v", err)
	}
}

// Worked by hand: ties go to the even neighbour, and what has no finite value is named.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		dtype checkpoint.DType
		value float32
		want  uint32
		says  string
	}{
		{checkpoint.BF16, math.Float32frombits(0x3f808000), 0x3f80, ""}, // a tie, down to even
		{checkpoint.BF16, math.Float32frombits(0x3f818000), 0x3f82, ""}, // a tie, up to even
		{checkpoint.BF16, math.Float32frombits(0x3f808001), 0x3f81, ""},
		{checkpoint.BF16, -2, 0xc000, ""},
		{checkpoint.BF16, math.MaxFloat32, 0, "does not fit in BF16"},
		{checkpoint.F16, 1 + 1.0/2048, 0x3c00, ""},
		{checkpoint.F16, 1 + 3.0/2048, 0x3c02, ""},
		{checkpoint.F16, 65504, 0x7bff, ""},
		{checkpoint.F16, 65520, 0, "65520 does not fit in F16; write it as bf16 or f32"},
		{checkpoint.F16, 1.0 / (1 << 24), 1, ""}, // subnormal
		{checkpoint.F32, 65520, 0x477ff000, ""},
		{checkpoint.F32, float32(math.Inf(1)), 0, "element 1 is not finite"},
		{checkpoint.F16, float32(math.NaN()), 0, "element 1 is not finite"},
		{checkpoint.BF16, math.Float32frombits(0x7f800001), 0, "element 1 is not finite"},
	} {
		dst := make([]byte, 2*c.dtype.Size()+4)
		err := encode(dst, []float32{0, c.value}, c.dtype)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v as %s: want an error with %q, got %v", c.value, c.dtype, c.says, err)
			}
			continue
		}
		if got := binary.LittleEndian.Uint32(dst[c.dtype.Size():]); err != nil || got != c.want {
			t.Errorf("%v as %s: want %#x, got %#x, %v", c.value, c.dtype, c.want, got, err)
		}
	}
}

func TestCheckFinite(t *testing.T) {
	for d, bits := range map[checkpoint.DType][]byte{
		checkpoint.F32: {0, 0, 0x80, 0x7f}, checkpoint.F16: {0, 0xfc}, checkpoint.BF16: {0x80, 0x7f},
	} {
		data := append(make([]byte, 3*d.Size()), bits...)
		if err := checkFinite(data, d); err == nil || err.Error() != "element 3 is not finite" {
			t.Errorf("%s: want element 3, got %v", d, err)
		}
		if err := checkFinite(data[:3*d.Size()], d); err != nil {
			t.Error(err)
		}
	}
}

// toF16 is the library's conversion: of every float16, of what lies between two, and of
// random numbers.
func TestToF16(t *testing.T) {
	same := func(bits uint32) {
		x := math.Float32frombits(bits)
		if got, want := toF16(x), float16.Fromfloat32(x).Bits(); got != want {
			t.Fatalf("%v (%#x): want %#x, got %#x", x, bits, want, got)
		}
	}
	for h := range 1 << 16 {
		bits := math.Float32bits(float16.Frombits(uint16(h)).Float32())
		for _, d := range []uint32{0, 1, 0xfff, 0x1000, 0x1001, 0x1fff} {
			same(bits + d)
		}
	}
	bits := uint32(1)
	for range 1 << 20 {
		bits = bits*1664525 + 1013904223
		same(bits)
	}
}
