package files

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/edsrzf/mmap-go"
)

// ErrFault means that a mapped file could not be read at an address of its mapping.
var ErrFault = errors.New("changed or unreadable while in use")

// span is the address range at which a file is, or was, mapped.
type span struct {
	first, end uintptr
	path       string
}

// spans lists the mappings of the process. A fault is reported with nothing but its
// address, and often after the file was unmapped while the stack unwinds. Entries
// therefore stay until another file is mapped at their address.
var spans struct {
	sync.Mutex
	list []span
}

// Map maps the first bytes of a file, which may be closed afterwards. The caller has
// to unmap it.
func Map(f *os.File, bytes int) (mmap.MMap, error) {
	m, err := mmap.MapRegion(f, bytes, mmap.RDONLY, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: map %d bytes: %w", f.Name(), bytes, err)
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(m)))
	s := span{first, first + uintptr(len(m)), f.Name()}
	spans.Lock()
	defer spans.Unlock()
	spans.list = append(slices.DeleteFunc(spans.list, func(o span) bool { return o.first < s.end && s.first < o.end }), s)
	return m, nil
}

// MapPath maps a regular file of at least so many bytes, read-only. The caller has to
// unmap it.
func MapPath(path string, least int64) (mmap.MMap, error) {
	n, err := Check(path)
	if err != nil {
		return nil, err
	}
	if n < least || int64(int(n)) != n {
		return nil, fmt.Errorf("%s: want at least %d bytes, got %d: truncated", path, least, n)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // a mapping outlives its file
	return Map(f, int(n))
}

// Guard turns memory faults of this goroutine into panics, which IsFault recognises
// and Catch turns into errors. Without it a fault ends the process. The result undoes
// it.
func Guard() (undo func()) {
	before := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(before) }
}

// IsFault reports whether a recovered value is a fault on a mapped file.
func IsFault(recovered any) bool {
	_, ok := pathOf(recovered)
	return ok
}

func pathOf(recovered any) (string, bool) {
	fault, ok := recovered.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return "", false
	}
	spans.Lock()
	defer spans.Unlock()
	i := slices.IndexFunc(spans.list, func(s span) bool { return s.first <= fault.Addr() && fault.Addr() < s.end })
	if i < 0 {
		return "", false
	}
	return spans.list[i].path, true
}

// Catch, when deferred, turns a fault on a mapped file into an error that wraps
// ErrFault. It passes on other panics.
func Catch(err *error) {
	r := recover()
	if r == nil {
		return
	}
	path, ok := pathOf(r)
	if !ok {
		panic(r)
	}
	*err = fmt.Errorf("%s: %w", path, ErrFault)
}

// Each runs do(0) to do(n-1) concurrently and returns when all have ended. A fault on a
// mapped file in one of them panics in the caller.
func Each(n int, do func(i int)) {
	var wg sync.WaitGroup
	var fault atomic.Pointer[any]
	for i := range n {
		wg.Go(func() {
			Guard()
			defer func() {
				r := recover()
				if r != nil && !IsFault(r) {
					panic(r)
				}
				if r != nil {
					fault.Store(&r)
				}
			}()
			do(i)
		})
	}
	wg.Wait()
	if f := fault.Load(); f != nil {
		panic(*f)
	}
}
