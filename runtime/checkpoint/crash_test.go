package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var errFault = errors.New("injected fault")

// faultyFS is a file system whose n-th operation fails. With dead set, the machine
// stops there: a write is cut in half, and every later operation fails, cleaning up
// included. It records what was not synced, which powerCut then loses.
type faultyFS struct {
	osFS
	n        int  // operations left before the fault
	dead     bool // the fault is the end
	hit      bool
	unsynced map[string]bool // files with bytes, directories with names, not on the disk
}

func (f *faultyFS) fails() bool {
	if f.hit {
		return f.dead
	}
	f.n--
	f.hit = f.n < 0
	return f.hit
}

func (f *faultyFS) Mkdir(path string) error {
	if f.fails() {
		return errFault
	}
	return f.osFS.Mkdir(path)
}

func (f *faultyFS) Create(path string) (outFile, error) {
	if f.fails() {
		return nil, errFault
	}
	f.unsynced[path], f.unsynced[filepath.Dir(path)] = true, true
	x, err := f.osFS.Create(path)
	return &faultyFile{x, f, path}, err
}

func (f *faultyFS) Rename(from, to string) error {
	if f.fails() {
		return errFault
	}
	f.move(from, to)
	return f.osFS.Rename(from, to)
}

func (f *faultyFS) Exchange(a, b string) error {
	if f.fails() {
		return errFault
	}
	f.move(a, b) // what stood at b was on the disk
	return f.osFS.Exchange(a, b)
}

func (f *faultyFS) RemoveAll(path string) error {
	if f.fails() {
		return errFault
	}
	return f.osFS.RemoveAll(path)
}

func (f *faultyFS) SyncDir(path string) error {
	if f.fails() {
		return errFault
	}
	delete(f.unsynced, path)
	return nil
}

func (f *faultyFS) move(from, to string) {
	for p := range f.unsynced {
		if rest, ok := strings.CutPrefix(p, from); ok {
			delete(f.unsynced, p)
			f.unsynced[to+rest] = true
		}
	}
}

// powerCut loses what was not synced: names in directories, bytes of files.
func (f *faultyFS) powerCut() {
	for p := range f.unsynced {
		if st, err := os.Stat(p); err != nil {
			continue
		} else if !st.IsDir() {
			os.Truncate(p, 0)
			continue
		}
		list, _ := os.ReadDir(p)
		for _, e := range list {
			os.RemoveAll(filepath.Join(p, e.Name()))
		}
	}
}

type faultyFile struct {
	outFile
	fs   *faultyFS
	path string
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.fs.fails() {
		n, _ := f.outFile.Write(p[:len(p)/2])
		return n, errFault
	}
	f.fs.unsynced[f.path] = true
	return f.outFile.Write(p)
}

// Sync only records: the test simulates the power cut, and a real sync is slow.
func (f *faultyFile) Sync() error {
	if f.fs.fails() {
		return errFault
	}
	delete(f.fs.unsynced, f.path)
	return nil
}

// For every operation of a save that fails, or during which the machine stops, the
// target holds the complete old model or the complete new one. The next save
// succeeds and cleans up.
func TestCrashAtEveryOperation(t *testing.T) {
	before, after := Random(tinyConfig(), 1, F32), Random(tinyConfig(), 2, F32)
	step := 1
	if testing.Short() {
		step = 5
	}
	for _, old := range []bool{false, true} {
		for _, mode := range []string{"error", "stop", "power cut"} {
			operations := 0
			for n := 0; ; n += step {
				name := fmt.Sprintf("old %v, %s at operation %d", old, mode, n)
				parent := t.TempDir()
				dir := filepath.Join(parent, "m")
				quiet := func() *faultyFS { return &faultyFS{n: 1 << 30, unsynced: map[string]bool{}} }
				if old {
					if err := Save(dir, tinyConfig(), specs(t, before), SaveOptions{ShardBytes: 300, fs: quiet()}); err != nil {
						t.Fatal(err)
					}
				}
				fs := &faultyFS{n: n, dead: mode != "error", unsynced: map[string]bool{}}
				err := Save(dir, tinyConfig(), specs(t, after), SaveOptions{ShardBytes: 300, Replace: true, fs: fs,
					Data: map[string][]byte{"plan.json": []byte("[]")}})
				if fs.hit != errors.Is(err, errFault) {
					t.Fatalf("%s: fault %v, error %v", name, fs.hit, err)
				}
				if mode == "power cut" {
					fs.powerCut()
				}
				d, err2 := Open(dir)
				switch {
				case err2 == nil && same(t, d, after):
				case err2 == nil && old && err != nil && same(t, d, before):
				case errors.Is(err2, os.ErrNotExist) && !old && err != nil:
					if _, err := os.Stat(dir); err == nil {
						t.Errorf("%s: the target is there and is no model", name)
					}
				default:
					t.Errorf("%s: neither old nor new: %v, after %v", name, err2, err)
				}
				if err2 == nil {
					d.Close()
				}
				if err := Save(dir, tinyConfig(), specs(t, after), SaveOptions{Replace: true, fs: quiet()}); err != nil {
					t.Fatalf("%s: the next save: %v", name, err)
				}
				if !same(t, open(t, dir), after) {
					t.Errorf("%s: the next save gives another model", name)
				}
				if left := entries(t, parent); len(left) != 1 {
					t.Errorf("%s: left behind: %v", name, left)
				}
				if !fs.hit {
					operations = n
					break
				}
			}
			if operations < 10 {
				t.Errorf("old %v, %s: only %d operations went through the file system", old, mode, operations)
			}
		}
	}
}
