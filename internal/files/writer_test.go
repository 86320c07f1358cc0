package files

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Writes of any size give the same file.
func TestWriter(t *testing.T) {
	data := make([]byte, 2*writerBlock+12345)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	for _, size := range []int{0, 1, writerBlock - 1, writerBlock, writerBlock + 1, len(data)} {
		path := filepath.Join(t.TempDir(), "f")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w := NewWriter(f)
		want := data[:size]
		for step := 0; len(want) > 0; step++ {
			n := min(len(want), 1+step*777_777)
			if k, err := w.Write(want[:n]); k != n || err != nil {
				t.Fatalf("want %d bytes written, got %d, %v", n, k, err)
			}
			want = want[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data[:size]) {
			t.Errorf("%d bytes: got %d others, %v", size, len(got), err)
		}
	}
}

// An error of the file ends the writing, and Close returns it.
func TestWriterFails(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	w := NewWriter(f)
	failed := false
	for range 4 {
		_, err := w.Write(make([]byte, writerBlock))
		failed = failed || err != nil
	}
	if err := w.Close(); err == nil || !failed {
		t.Errorf("want an error of Write and of Close, got %v and %v", failed, err)
	}
}
