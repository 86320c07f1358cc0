package criterion

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/edsrzf/mmap-go"
	"github.com/google/renameio/v2"

	"mop/internal/files"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// CachedReference is the reference as a file of its last hidden states on the windows, so
// that its forward pass is computed once for all candidates. The file is mapped, so it
// does not count as memory of the process:
//
//	states  float32 [N, D], little-endian, the positions of all windows in order
//	sum     sha256 of the key and the states
type CachedReference struct {
	model  *model.CachedStates
	starts []int // index of the first state of each window
	mapped mmap.MMap
	file   *os.File
}

// ErrNotCached means that the file is missing, or was written for another key.
var ErrNotCached = errors.New("no cached reference states")

// CachedReferenceBytes returns the size of the file for a model of hidden size dim.
func CachedReferenceBytes(dim int, windows []dataset.Window) int64 {
	return 4*int64(dataset.Positions(windows))*int64(dim) + sha256.Size
}

// CacheReference runs the reference on the windows and writes the file, which appears
// under its name only when it is complete. The key names everything that the states
// depend on. tick is called after each window. prefixes and tick may be nil.
func CacheReference(ctx context.Context, path, key string, m *model.Model, windows []dataset.Window, prefixes metric.Prefixes, tick func()) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	sum := sha256.New()
	io.WriteString(sum, key)
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<18)
	row := make([]byte, 0, 4*m.Config.HiddenSize)
	if err := metric.ForEachWindow(ctx, m, windows, prefixes, func(i int) error {
		if err := m.Residual(len(windows[i].Tokens), func(_ int, x []float32) error {
			row = row[:0]
			for _, v := range x {
				row = binary.LittleEndian.AppendUint32(row, math.Float32bits(v))
			}
			_, err := w.Write(row)
			return err
		}); err != nil {
			return err
		}
		if tick != nil {
			tick()
		}
		return nil
	}); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err := f.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// OpenCachedReference maps the file that CacheReference wrote for the same key, source and
// windows. The error is ErrNotCached if there is none.
func OpenCachedReference(path, key string, dev device.Device, src checkpoint.Source, windows []dataset.Window) (*CachedReference, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotCached, path)
	} else if err != nil {
		return nil, err
	}
	k := &CachedReference{file: f}
	n, dim := dataset.Positions(windows), src.Config().HiddenSize
	st, err := f.Stat()
	if err == nil && st.Size() != CachedReferenceBytes(dim, windows) {
		err = fmt.Errorf("%w: %s: want %d bytes, got %d", ErrNotCached, path, CachedReferenceBytes(dim, windows), st.Size())
	}
	if err == nil {
		k.mapped, err = files.Map(f, int(st.Size()))
	}
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	data, want := k.mapped[:4*n*dim], k.mapped[4*n*dim:]
	sum := sha256.New()
	io.WriteString(sum, key)
	sum.Write(data)
	if string(sum.Sum(nil)) != string(want) {
		return nil, errors.Join(fmt.Errorf("%w: %s: written by another run, or changed", ErrNotCached, path), k.Close())
	}
	at := 0
	for _, w := range windows {
		k.starts = append(k.starts, at)
		at += len(w.Tokens)
	}
	states := checkpoint.Tensor{Name: path, DType: checkpoint.F32, Shape: []int{n, dim}, Data: data}
	if k.model, err = model.LoadCachedStates(dev, src, states, max(1, dataset.Longest(windows))); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Window loads the states of window w.
func (k *CachedReference) Window(w int, tokens []int) (model.Reference, error) {
	return k.model, k.model.Load(k.starts[w], len(tokens))
}

// Close unmaps the file. The reference cannot be used afterwards.
func (k *CachedReference) Close() error {
	if k.model != nil {
		k.model.Close()
	}
	var err error
	if k.mapped != nil {
		err = k.mapped.Unmap()
	}
	return errors.Join(err, k.file.Close())
}
