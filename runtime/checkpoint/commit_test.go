package checkpoint

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// recordingWriter records its writes and their lengths. It fails after most of them.
type recordingWriter struct {
	all     []byte
	lengths []int
	most    int
}

var errFull = errors.New("full")

func (p *recordingWriter) Write(b []byte) (int, error) {
	if len(p.lengths) == p.most {
		return 0, errFull
	}
	p.all, p.lengths = append(p.all, b...), append(p.lengths, len(b))
	return len(b), nil
}

func TestBlockWriterWritesWholeBuffers(t *testing.T) {
	var want []byte
	for i := range 16*5 + 3 {
		want = append(want, byte(i))
	}
	for _, sizes := range [][]int{{83}, {1, 82}, {16, 67}, {7, 16, 40, 0, 20}, {32, 33, 18}} {
		p := &recordingWriter{most: 100}
		w := blockWriter{bufio.NewWriterSize(p, 16)}
		rest := want
		for _, n := range sizes {
			if k, err := w.Write(rest[:n]); k != n || err != nil {
				t.Fatalf("%v: want %d, got %d, %v", sizes, n, k, err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.all, want) || !slices.Equal(p.lengths, []int{16, 16, 16, 16, 16, 3}) {
			t.Errorf("%v: got writes of %v", sizes, p.lengths)
		}
	}
	w := blockWriter{bufio.NewWriterSize(&recordingWriter{most: 2}, 16)}
	if n, err := w.Write(want); n >= len(want) || !errors.Is(err, errFull) {
		t.Errorf("want %v, got %d, %v", errFull, n, err)
	}
}

// A save goes into an empty directory. What no save has left under its hidden name stays.
func TestSaveBesideForeignFiles(t *testing.T) {
	c := tinyConfig()
	src := Random(c, 1, F32)
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Save(out, c, specs(t, src), SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Save(out, c, specs(t, src), SaveOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("want ErrExists, got %v", err)
	}
	for _, name := range []string{"thesis.txt", "sub/model.safetensors"} {
		path := filepath.Join(dir, ".next.incomplete", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte("mine"))
		refused(t, Save(filepath.Join(dir, "next"), c, specs(t, src), SaveOptions{}), "which no save has left: move it away")
		if string(read(t, path)) != "mine" {
			t.Errorf("%s was changed", path)
		}
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
	}
}
