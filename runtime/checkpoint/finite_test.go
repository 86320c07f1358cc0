package checkpoint

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"mop/runtime/checkpoint/safetensors"
)

// Every 16-bit pattern, and every upper half of a 32-bit one, at every position of a
// block, is found exactly if its exponent is all ones.
func TestScanEveryPattern(t *testing.T) {
	for _, d := range []DType{F16, BF16, F32} {
		size := d.Size()
		exponent := map[DType]uint32{F16: 0x7c00, BF16: 0x7f80, F32: 0x7f80}[d]
		for bits := range uint32(1 << 16) {
			at := int(bits % 37)
			data := make([]byte, 37*size)
			for i := range data {
				data[i] = byte(0xfb - 0x80*(i%2)) // neighbours full of ones, but finite
			}
			for i := range 37 {
				data[i*size+size-1] = 0x77
			}
			data[at*size+size-2], data[at*size+size-1] = byte(bits), byte(bits>>8)
			want := -1
			if bits&exponent == exponent {
				want = at
			}
			if got := scan(data, d); got != want {
				t.Fatalf("%v %#x at %d: want %d, got %d", d, bits, at, want, got)
			}
		}
	}
}

func TestCheckFinite(t *testing.T) {
	dir := save(t, tinyConfig(), 7, SaveOptions{})
	if err := CheckFinite(open(t, dir)); err != nil {
		t.Fatal(err)
	}
	data := read(t, filepath.Join(dir, singleFile))
	// All are F32, so that the file holds them in the order of ExpectedTensors.
	n := 8 + binary.LittleEndian.Uint64(data)
	at := 0
	for _, info := range ExpectedTensors(tinyConfig()) {
		if info.Name == LayerName(0, WK) {
			break
		}
		at += 4 * safetensors.Elements(info.Shape)
	}
	binary.LittleEndian.PutUint32(data[int(n)+at+4*6:], 0xff800000) // row 1, column 2
	bad := save(t, tinyConfig(), 7, SaveOptions{})
	write(t, filepath.Join(bad, singleFile), data)
	refused(t, CheckFinite(open(t, bad)), filepath.Join(bad, singleFile)+": layer 0: model.layers.0.self_attn.k_proj.weight: element [1 2] is not finite")
}

func BenchmarkCheckFinite(b *testing.B) {
	c := tinyConfig()
	c.VocabSize, c.HiddenSize = 32000, 4096
	for _, d := range []DType{F32, F16, BF16} {
		b.Run(d.String(), func(b *testing.B) {
			x, err := Random(c, 1, d).Tensor(EmbedName)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(x.Data)))
			for b.Loop() {
				if firstNotFinite(x) >= 0 {
					b.Fatal("not finite")
				}
			}
		})
	}
}
