package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	kernel "mop/kernels/cpu"
)

// pool is a fixed set of workers, of which the caller is worker 0. A task is cut
// into one part for each, the same one every time, so that a core finds its rows
// in its own cache. Who waits spins briefly, since the next task of a token comes
// within microseconds, and then sleeps.
//
// Where cores are short, a worker may not get to run for milliseconds. Nobody
// waits for it by spinning, and a part that it has not begun is done by whoever
// is free: a part's result does not depend on who computes it.
type pool struct {
	threads int
	spin    time.Duration // how long to look before sleeping

	mu     sync.Mutex // one task at a time
	task   func(worker, lo, hi int)
	n      int
	align  int
	epoch  atomic.Uint64   // counts the tasks; workers watch it
	taken  []atomic.Uint64 // per part: the epoch that it was last begun in
	left   atomic.Int64    // parts of the present task that are not done
	closed atomic.Bool
	sleeps []sleeper // per worker; the caller's is that of part 0
}

// sleeper lets one goroutine sleep until another wakes it.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{} // capacity 1
	_      [48]byte      // a cache line of its own
}

// wait returns once ready does: it spins at first, then sleeps. Whoever makes
// ready true calls rouse afterwards.
func (s *sleeper) wait(spin time.Duration, ready func() bool) {
	if spin > 0 {
		start := time.Now()
		for {
			for range 8 {
				if ready() {
					return
				}
				kernel.Pause(4)
			}
			if time.Since(start) > spin {
				break
			}
		}
	}
	for !ready() {
		s.asleep.Store(true)
		if ready() && s.asleep.CompareAndSwap(true, false) {
			return
		}
		<-s.wake
	}
}

// rouse wakes the sleeper if it sleeps.
func (s *sleeper) rouse() {
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
		s.wake <- struct{}{}
	}
}

// spinTime is longer than the gap between two operations of a token, and short
// against a slice of the scheduler.
const spinTime = 50 * time.Microsecond

func newPool(threads int) *pool {
	p := &pool{threads: threads, spin: spinTime, taken: make([]atomic.Uint64, threads), sleeps: make([]sleeper, threads)}
	if threads > min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) {
		p.spin = 0 // who spins would keep another from working
	}
	for w := range threads {
		p.sleeps[w].wake = make(chan struct{}, 1)
		if w > 0 {
			go p.work(w)
		}
	}
	return p
}

// run cuts [0, n) into one contiguous range per worker, the same for the same
// n, and returns when all are done. Ranges start at multiples of align. The task
// gets the number of the worker that runs it, whose range it need not be.
func (p *pool) run(n, align int, task func(worker, lo, hi int)) {
	if n <= 0 {
		return
	}
	if p.threads == 1 || n <= align {
		task(0, 0, n)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.task, p.n, p.align = task, n, align
	p.left.Store(int64(p.threads))
	epoch := p.epoch.Add(1)
	for w := 1; w < p.threads; w++ {
		p.sleeps[w].rouse()
	}
	p.parts(0, epoch)
	p.sleeps[0].wait(p.spin, func() bool { return p.left.Load() == 0 })
	p.task = nil
}

// parts does worker w's part of the present task, then any that nobody has begun.
func (p *pool) parts(w int, epoch uint64) {
	for i := range p.threads {
		part := (w + i) % p.threads
		if !p.taken[part].CompareAndSwap(epoch-1, epoch) {
			continue
		}
		// The task cannot end now before this part does.
		if lo, hi := cut(p.n, p.align, part, p.threads); lo < hi {
			p.task(w, lo, hi)
		}
		if p.left.Add(-1) == 0 {
			p.sleeps[0].rouse()
		}
	}
}

// cut is part w of [0, n).
func cut(n, align, w, workers int) (lo, hi int) {
	blocks := (n + align - 1) / align
	return min(n, blocks*w/workers*align), min(n, blocks*(w+1)/workers*align)
}

func (p *pool) work(w int) {
	seen := uint64(0)
	for {
		p.sleeps[w].wait(p.spin, func() bool { return p.epoch.Load() != seen })
		seen = p.epoch.Load()
		if p.closed.Load() {
			return
		}
		p.parts(w, seen)
	}
}

// close ends the workers. No run may follow.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Swap(true) {
		return
	}
	p.epoch.Add(1)
	for w := 1; w < p.threads; w++ {
		p.sleeps[w].rouse()
	}
}
