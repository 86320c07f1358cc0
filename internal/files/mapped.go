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

// ErrFault says that a mapped file could not be read where it had been mapped.
var ErrFault = errors.New("changed or unreadable while in use")

// span is where a file is, or was, mapped.
type span struct {
	first, end uintptr
	path       string
}

// spans is one table, as there is one address space: a fault comes with an address
// and nothing else, and often when the file is unmapped already, on the way out. So
// entries stay until others are mapped in their place.
var spans struct {
	sync.Mutex
	list []span
}

// Map maps the first bytes of a file, which may be closed afterwards. The mapping is
// the caller's to undo.
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

// Guard makes faults of this goroutine panics, which IsFault knows and Catch takes.
// Without it they end the process. The result undoes it.
func Guard() (undo func()) {
	before := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(before) }
}

// IsFault tells a fault on a mapped file from what else a goroutine may panic with.
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

// Catch, deferred, makes an error that wraps ErrFault of a fault on a mapped file.
// Other panics go on.
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

// Each runs do for 0 to n-1 at once and returns when all have ended; a fault of one on
// a mapped file becomes the caller's.
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
