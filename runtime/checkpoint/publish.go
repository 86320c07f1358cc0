package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writer fills the hidden directory.
type writer struct {
	fs  fileSystem
	dir string
}

// file writes a new file through a buffer and on to the disk.
func (w *writer) file(name string, write func(io.Writer) error) (err error) {
	f, err := w.fs.Create(filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := bufio.NewWriterSize(f, writeSize)
	if err := write(blockWriter{b}); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// writeSize is twice the size of a huge page. A system that keeps files in memory in
// pieces as large as they were written maps them so as well: a model that was just
// written is then read, by whoever maps it, with few translations of addresses.
const writeSize = 4 << 20

// blockWriter passes on nothing but whole buffers, each at a multiple of their size in the
// file: bufio alone writes what is larger than its buffer at once.
type blockWriter struct{ *bufio.Writer }

func (w blockWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var k int
		k, err = w.Writer.Write(p[:min(len(p), max(w.Available(), 1))]) // 1: a full one empties itself
		n, p = n+k, p[k:]
	}
	return n, err
}

// commitDirectory makes a directory of need bytes under a hidden name beside its own,
// lets fill write its files, and gives it its name once all of it is on disk.
func commitDirectory(dir string, o SaveOptions, need int64, fill func(*writer) error) error {
	fs := o.fs
	if fs == nil {
		fs = osFS{}
	}
	dir, old, err := target(dir, o.Replace)
	if err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	tmp := filepath.Join(parent, "."+filepath.Base(dir)+".incomplete")
	unlock, err := claim(fs, tmp)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer unlock()
	err = CheckFree(parent, need)
	if err == nil {
		err = fill(&writer{fs, tmp})
	}
	if err == nil {
		err = fs.SyncDir(tmp)
	}
	if err == nil && old {
		// The old model now goes by the hidden name: nobody else may take it
		// for a leftover before it is gone.
		var unlockOld func()
		if unlockOld, err = lock(dir); err == nil {
			defer unlockOld()
			err = fs.Exchange(tmp, dir)
		}
	} else if err == nil {
		err = fs.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", dir, err), fs.RemoveAll(tmp))
	}
	if err := fs.SyncDir(parent); err != nil {
		return err
	}
	if old {
		return fs.RemoveAll(tmp)
	}
	return nil
}

// target resolves where a model is to stand, and reports whether one is there
// that is to be replaced. A symbolic link to a directory is followed, so that
// the link stays and the new model lies where the old one did.
func target(dir string, replace bool) (path string, old bool, err error) {
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return dir, false, nil
	} else if err != nil {
		return "", false, err
	}
	if !replace {
		return "", false, fmt.Errorf("%s: %w", dir, ErrExists)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", false, err
	}
	model := len(entries) == 0
	for _, e := range entries {
		if e.IsDir() {
			return "", false, fmt.Errorf("%s: holds the directory %s: not a model alone, will not be replaced", dir, e.Name())
		}
		model = model || e.Name() == configFile
	}
	if !model {
		return "", false, fmt.Errorf("%s: holds no %s: not a model, will not be replaced", dir, configFile)
	}
	return dir, true, nil
}

// claim makes the hidden directory, empty and locked against other saves of the
// same target; what a killed one left there is removed.
func claim(fs fileSystem, tmp string) (unlock func(), err error) {
	for range 100 {
		if err := fs.Mkdir(tmp); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		unlock, err := lock(tmp)
		if errors.Is(err, os.ErrNotExist) {
			continue // its owner has just finished
		}
		if err != nil {
			return nil, err
		}
		left, err := os.ReadDir(tmp)
		if err == nil && len(left) == 0 {
			return unlock, nil
		}
		if err == nil {
			err = fs.RemoveAll(tmp)
		}
		unlock()
		if err != nil {
			return nil, err
		}
	}
	return nil, errBusy
}

// errBusy says that the same target is being written.
var errBusy = fmt.Errorf("another save of it is running: %w", ErrBusy)

// ErrBusy says that another process, or another call in this one, has a
// directory.
var ErrBusy = errors.New("busy")

// Lock takes a directory until unlock or the end of the process; ErrBusy where it
// is taken. Locks are advisory, and only Linux has them here.
func Lock(dir string) (unlock func(), err error) { return lock(dir) }
