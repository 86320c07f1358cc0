package gguf

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// The bytes are those of the gguf package, for values of all magnitudes, ties and zeros.
func TestQuantizeQ8_0(t *testing.T) {
	data, err := os.ReadFile("testdata/quantized.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct{ Values, Raw []byte } // base64 in the file
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(g.Values)/4)
	widenF32(values, g.Values)
	got := make([]byte, len(values)/32*34)
	if err := quantizeQ8_0(got, values); err != nil {
		t.Fatal(err)
	}
	for b := 0; b < len(got); b += 34 {
		if !bytes.Equal(got[b:b+34], g.Raw[b:b+34]) {
			t.Errorf("block %d of %v:\nwant %s\ngot  %s", b/34, values[b/34*32:b/34*32+32],
				base64.StdEncoding.EncodeToString(g.Raw[b:b+34]), base64.StdEncoding.EncodeToString(got[b:b+34]))
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	for _, x := range []float32{notANumber, float32(math.Inf(-1)), 65520 * 127} {
		values := make([]float32, 32)
		values[7] = x
		if err := quantizeQ8_0(make([]byte, 34), values); err == nil {
			t.Errorf("%v: want an error", x)
		}
	}
}

func BenchmarkQuantizeQ8_0(b *testing.B) {
	values := make([]float32, 1<<16)
	for i := range values {
		values[i] = float32(i%251) - 125
	}
	out := make([]byte, len(values)/32*34)
	b.SetBytes(int64(4 * len(values)))
	for b.Loop() {
		if err := quantizeQ8_0(out, values); err != nil {
			b.Fatal(err)
		}
	}
}
