package checkpoint

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/config"
)

// tinyConfig is a model of two different layers: the second has no attention.
func tinyConfig() *config.Config {
	return &config.Config{VocabSize: 8, HiddenSize: 4, HeadDim: 2,
		Layers:    []config.LayerShape{{Heads: 2, KVHeads: 1, HeadDim: 2, Intermediate: 3}, {HeadDim: 2, Intermediate: 5}},
		RopeTheta: 10000, NormEps: 1e-5, MaxPositions: 16, BOS: 1, EOS: []int{2}, DType: "float32"}
}

// specs copies all tensors of a source.
func specs(t testing.TB, src Source) []TensorSpec {
	t.Helper()
	var out []TensorSpec
	for _, info := range ExpectedTensors(src.Config()) {
		x, err := src.Tensor(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Copy(x))
	}
	return out
}

// save writes a checkpoint of random weights and returns its directory.
func save(t testing.TB, c *config.Config, seed uint64, o SaveOptions) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := WriteRandom(dir, c, seed, F32, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t testing.TB, dir string) *Dir {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// same compares all tensors of two sources bit for bit.
func same(t testing.TB, got, want Source) bool {
	t.Helper()
	for _, info := range ExpectedTensors(want.Config()) {
		g, err1 := got.Tensor(info.Name)
		w, err2 := want.Tensor(info.Name)
		if err1 != nil || err2 != nil || g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || !bytes.Equal(g.Data, w.Data) {
			return false
		}
	}
	return true
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// editHeader changes a safetensors file's header text and pads it again.
func editHeader(t testing.TB, path string, pairs ...string) {
	t.Helper()
	data := read(t, path)
	n := binary.LittleEndian.Uint64(data)
	old := string(data[8 : 8+n])
	text := strings.NewReplacer(pairs...).Replace(old)
	if text == old {
		t.Fatalf("nothing to replace in %s", old)
	}
	write(t, path, append(withLength(text), data[8+n:]...))
}

// withLength is a header with its length in front, padded to a multiple of 8 bytes.
func withLength(header string) []byte {
	header = strings.TrimRight(header, " ")
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
}

// refused checks that an error is one line that contains the wanted texts.
func refused(t testing.TB, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("want an error with %q, got none", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("want an error with %q, got %q", w, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("want one line, got %q", err)
	}
}

// entries lists a directory, hidden files included.
func entries(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}
