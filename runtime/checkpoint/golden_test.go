package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/x448/float16"

	"mop/runtime/checkpoint/safetensors"
)

// keep names a folder to which TestSafetensorsLibraryReadsOurs writes its model, for
// testdata/golden.py:
//
//	go test ./runtime/checkpoint -run SafetensorsLibraryReadsOurs -keep DIR
//	python3 golden.py digest DIR > digests.json
var keep = flag.String("keep", "", "folder that the golden model is written to")

// The safetensors library wrote testdata/python: element j of tensor i is
// (j-3)/8 + i, in F32, F16 and BF16 in turn, over two shards.
func TestReadSafetensorsLibrary(t *testing.T) {
	d := open(t, filepath.Join("testdata", "python"))
	for i, info := range ExpectedTensors(d.Config()) {
		x, err := d.Tensor(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		if want := DType(i % 3); x.DType != want {
			t.Errorf("%s: want %v, got %v", info.Name, want, x.DType)
		}
		for j := range safetensors.Elements(x.Shape) {
			var got float32
			switch b := x.Data[j*x.DType.Size():]; x.DType {
			case F32:
				got = math.Float32frombits(binary.LittleEndian.Uint32(b))
			case F16:
				got = float16.Frombits(binary.LittleEndian.Uint16(b)).Float32()
			case BF16:
				got = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
			}
			if want := float32(j-3)/8 + float32(i); got != want {
				t.Fatalf("%s: element %d: want %v, got %v", info.Name, j, want, got)
			}
		}
	}
}

// testdata/digests.json holds what the safetensors library read in the directory that
// this test writes: the same types, shapes, files and bytes.
func TestSafetensorsLibraryReadsOurs(t *testing.T) {
	dir := *keep
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "model")
	}
	c := tinyConfig()
	var list []TensorSpec
	for i, info := range ExpectedTensors(c) {
		x, err := Random(c, 5, DType(i%3)).Tensor(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Copy(x))
	}
	if err := Save(dir, c, list, SaveOptions{ShardBytes: 250}); err != nil {
		t.Fatal(err)
	}
	if *keep != "" {
		return
	}
	var golden struct{ Tensors map[string][4]any }
	if err := json.Unmarshal(read(t, filepath.Join("testdata", "digests.json")), &golden); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	names := map[DType]string{F32: "torch.float32", F16: "torch.float16", BF16: "torch.bfloat16"}
	if want := ExpectedTensors(c); len(golden.Tensors) != len(want) {
		t.Fatalf("want %d tensors, the library read %d", len(want), len(golden.Tensors))
	}
	for _, s := range list {
		sum := sha256.Sum256(func() []byte { x, _ := d.Tensor(s.Name); return x.Data }())
		got := []string{names[s.DType], fmt.Sprint(s.Shape), filepath.Base(d.File(s.Name)), hex.EncodeToString(sum[:])}
		var want []string
		for _, v := range golden.Tensors[s.Name] {
			want = append(want, fmt.Sprint(v))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the library read %v, mop has %v", s.Name, want, got)
		}
	}
}
