package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func file(t *testing.T, name string, bytes int) (*os.File, []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, make([]byte, bytes), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m, err := Map(f, bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Unmap() })
	return f, m
}

// touch reads a byte as the commands do, under Guard and Catch.
func touch(m []byte, at int) (b byte, err error) {
	defer Guard()()
	defer Catch(&err)
	return m[at], nil
}

// Reading a part of a mapped file that was truncated is an error that names the file,
// also while other files are mapped. The rest of the file can still be read.
func TestTruncatedFile(t *testing.T) {
	page := os.Getpagesize()
	_, before := file(t, "before", 3*page)
	f, m := file(t, "model.safetensors", 3*page)
	_, after := file(t, "after", 3*page)
	if err := os.Truncate(f.Name(), int64(page)+1); err != nil {
		t.Skip(err) // a system that holds mapped files
	}
	for _, b := range [][]byte{before, after, m[:2*page]} {
		for i := range b {
			if got, err := touch(b, i); got != 0 || err != nil {
				t.Fatalf("byte %d: got %d, %v", i, got, err)
			}
		}
	}
	for _, at := range []int{2 * page, 3*page - 1} {
		_, err := touch(m, at)
		if !errors.Is(err, ErrFault) || !strings.HasPrefix(err.Error(), f.Name()+": ") {
			t.Errorf("byte %d: want %v of %s, got %v", at, ErrFault, f.Name(), err)
		}
	}
	var sums [3]int
	err := func() (err error) {
		defer Catch(&err)
		Each(3, func(i int) {
			for _, b := range m[i*page : (i+1)*page] {
				sums[i] += int(b) + 1
			}
		})
		return nil
	}()
	if !errors.Is(err, ErrFault) || sums[0] != page || sums[1] != page {
		t.Errorf("pages at once: want %v, got %v, %v", ErrFault, err, sums)
	}
}

// Panics that are not faults on a file pass through unchanged.
func TestOtherPanics(t *testing.T) {
	var nobody *[1 << 20]byte
	for _, c := range []func(){
		func() { panic("of another kind") },
		func() { _ = nobody[5] },
		func() { _ = nobody[1<<19] },
		func() { _ = make([]byte, 3)[len(os.Args)+3] },
	} {
		func() {
			defer Guard()()
			defer func() {
				if recover() == nil {
					t.Error("want the panic to go on")
				}
			}()
			var err error
			defer Catch(&err)
			c()
		}()
	}
	if len(spans.list) > 3 {
		t.Errorf("%d spans are listed for 3 files", len(spans.list))
	}
}

// Mapping another file at the same address replaces the old span.
func TestSpansAreReplaced(t *testing.T) {
	f, _ := file(t, "again", os.Getpagesize())
	n := 0
	for range 100 {
		m, err := Map(f, os.Getpagesize())
		if err != nil {
			t.Fatal(err)
		}
		n = max(n, len(spans.list))
		m.Unmap()
	}
	if n > 50 {
		t.Errorf("a file mapped 100 times, one at a time: %d spans are listed", n)
	}
}
