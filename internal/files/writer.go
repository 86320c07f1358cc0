package files

import (
	"os"
	"sync/atomic"
)

// writerBlock is how much a Writer writes at a time.
const writerBlock = 4 << 20

// Writer writes a new file in a goroutine of its own, so that the caller computes the next
// bytes meanwhile, and asks the kernel to write to the disk at once. Otherwise Linux begins
// when a tenth of the memory waits to be written, and the disk is idle until then.
type Writer struct {
	block  []byte // that Write fills
	full   chan []byte
	free   chan []byte
	done   chan struct{}
	failed atomic.Pointer[error] // the first error
}

// NewWriter returns a writer to the beginning of a file. It must be closed, which leaves
// the file open.
func NewWriter(f *os.File) *Writer {
	w := &Writer{block: make([]byte, 0, writerBlock), full: make(chan []byte), free: make(chan []byte, 2), done: make(chan struct{})}
	w.free <- make([]byte, 0, writerBlock)
	go func() {
		defer close(w.done)
		offset := int64(0)
		for b := range w.full {
			if w.failed.Load() == nil {
				n, err := f.Write(b)
				if err != nil {
					w.failed.Store(&err)
				}
				startWriting(f, offset, int64(n))
				offset += int64(n)
			}
			w.free <- b
		}
	}()
	return w
}

// Write takes over the bytes. An error may be that of an earlier call.
func (w *Writer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if err := w.failed.Load(); err != nil {
			return n, *err
		}
		k := copy(w.block[len(w.block):cap(w.block)], p[n:])
		w.block = w.block[:len(w.block)+k]
		n += k
		if len(w.block) == cap(w.block) {
			w.full <- w.block
			w.block = (<-w.free)[:0]
		}
	}
	return n, nil
}

// Close writes the rest, and returns the first error.
func (w *Writer) Close() error {
	if len(w.block) > 0 {
		w.full <- w.block
	}
	close(w.full)
	<-w.done
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}
