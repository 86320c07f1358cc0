package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writer writes the files of the hidden directory.
type writer struct {
	fs  fileSystem
	dir string
}

// file writes a new file through a buffer and syncs it to disk.
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

// writeSize is twice the size of a huge page. Linux keeps a file in its page cache in
// blocks as large as the writes. A model that was just written is then mapped with
// large pages, so that reading it needs few address translations.
const writeSize = 4 << 20

// blockWriter writes only whole buffers, each at a multiple of the buffer's size in the
// file. bufio alone would pass on data that is larger than its buffer in one write.
type blockWriter struct{ *bufio.Writer }

func (w blockWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var k int
		k, err = w.Writer.Write(p[:min(len(p), max(w.Available(), 1))]) // 1: a full buffer flushes itself
		n, p = n+k, p[k:]
	}
	return n, err
}

// commitDirectory makes a directory under a hidden name beside dir, lets fill write
// its files, need bytes in all, and renames it to dir once everything is on disk.
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
	unlock, err := makeTemporary(fs, tmp)
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
		// The old model gets the hidden name. Nobody else may take it for the
		// remains of a killed save before it is removed.
		var unlockOld func()
		if unlockOld, err = lock(dir); err == nil {
			defer unlockOld()
			err = fs.Exchange(tmp, dir)
		}
	} else if err == nil {
		_ = os.Remove(dir) // an empty directory gives way
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

// target resolves the path of the new model, and reports whether an old one is to be
// replaced there. A symbolic link to a directory is followed, so that the link stays
// and the new model takes the place of the old one.
func target(dir string, replace bool) (path string, old bool, err error) {
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return dir, false, nil
	} else if err != nil {
		return "", false, err
	}
	if !replace && isEmpty(dir) {
		return dir, false, nil
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
			return "", false, fmt.Errorf("%s: holds the directory %s: not only a model, will not be replaced", dir, e.Name())
		}
		model = model || e.Name() == configFile
	}
	if !model {
		return "", false, fmt.Errorf("%s: holds no %s: not a model, will not be replaced", dir, configFile)
	}
	return dir, true, nil
}

// makeTemporary makes the hidden directory, empty and locked against other saves of
// the same target. It removes what a killed save left there.
func makeTemporary(fs fileSystem, tmp string) (unlock func(), err error) {
	for range 100 {
		if err := fs.Mkdir(tmp); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		unlock, err := lock(tmp)
		if errors.Is(err, os.ErrNotExist) {
			continue // the other save has just finished
		}
		if err != nil {
			return nil, err
		}
		left, err := os.ReadDir(tmp)
		if err == nil && len(left) == 0 {
			return unlock, nil
		}
		if err == nil {
			err = checkRemains(tmp, left)
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

// isEmpty reports whether a path is a directory without entries, and not a link to one.
func isEmpty(dir string) bool {
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		return false
	}
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// checkRemains refuses a hidden directory that no save has left: one with directories in
// it, or without any file that a save writes.
func checkRemains(tmp string, left []os.DirEntry) error {
	ours := false
	for _, e := range left {
		if e.IsDir() {
			return fmt.Errorf("%s: holds the directory %s, which no save has left: move it away", tmp, e.Name())
		}
		ours = ours || e.Name() == configFile || filepath.Ext(e.Name()) == ".safetensors"
	}
	if !ours {
		return fmt.Errorf("%s: holds %s, which no save has left: move it away", tmp, left[0].Name())
	}
	return nil
}

// errBusy means that the same target is being written.
var errBusy = fmt.Errorf("another save of it is running: %w", ErrBusy)

// ErrBusy means that another process, or another call in this one, holds the lock of
// a directory.
var ErrBusy = errors.New("busy")

// Lock locks a directory until unlock is called or the process ends. The error wraps
// ErrBusy where it is locked already. The lock is advisory; only Linux has it.
func Lock(dir string) (unlock func(), err error) { return lock(dir) }
