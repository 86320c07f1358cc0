package checkpoint

import (
	"errors"
	"fmt"
	"os"
)

// fileSystem holds the operations that Save performs on a disk. One implementation is
// the operating system; the other, in tests, injects faults.
type fileSystem interface {
	Mkdir(path string) error
	Create(path string) (outFile, error)
	Rename(from, to string) error
	Exchange(a, b string) error // atomically; both paths exist before and after
	RemoveAll(path string) error
	SyncDir(path string) error
}

type outFile interface {
	Write(p []byte) (int, error)
	Sync() error
	Close() error
}

type osFS struct{}

func (osFS) Mkdir(path string) error { return os.Mkdir(path, 0o777) }
func (osFS) Create(path string) (outFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return f, nil
}
func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Exchange(a, b string) error   { return exchange(a, b) }
func (osFS) RemoveAll(path string) error  { return os.RemoveAll(path) }

func (osFS) SyncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// CheckFree is an error where the disk that holds dir has less than need bytes free.
func CheckFree(dir string, need int64) error {
	free, err := freeBytes(dir)
	if err != nil {
		return fmt.Errorf("free disk of %s: %w", dir, err)
	}
	if free < need {
		return fmt.Errorf("want %d bytes of free disk, got %d", need, free)
	}
	return nil
}
