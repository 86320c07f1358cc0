package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	kernel "mop/kernels/cpu"
)

// pool is a fixed set of workers, of which the caller is worker 0. A task is cut
// into a few parts for each, the same ones every time, so that a core finds its
// rows in its own cache. Who waits spins briefly, since the next task of a token
// comes within microseconds, and then sleeps.
//
// Parts that a worker has not begun are done by whoever is free: two cores never
// read memory equally fast, and where cores are short, a worker may not get to run
// for milliseconds. A part's result does not depend on who computes it. Nor does
// anyone spin for long where spinning has been in vain.
type pool struct {
	threads int

	mu     sync.Mutex // one task at a time
	task   func(worker, lo, hi int)
	n      int
	align  int
	epoch  atomic.Uint64   // counts the tasks; workers watch it
	taken  []atomic.Uint64 // per part: the epoch that it was last taken in
	parts  int             // of the present task
	left   atomic.Int64    // parts of the present task that are not done
	closed atomic.Bool
	sleeps []sleeper // per worker; the caller's is that of part 0
}

// sleeper lets one goroutine sleep until another wakes it.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{} // capacity 1
	spin   time.Duration // how long to look before sleeping
	most   time.Duration // that spin may be
	_      [32]byte      // a cache line of its own
}

// wait returns once ready does: it spins at first, then sleeps. Whoever makes
// ready true calls rouse afterwards.
func (s *sleeper) wait(ready func() bool) {
	if s.spin > 0 {
		start := time.Now()
		for {
			for range 8 {
				if ready() {
					s.spin = min(2*s.spin, s.most)
					return
				}
				kernel.Pause(4)
			}
			if time.Since(start) > s.spin {
				break
			}
		}
		s.spin = max(s.spin/4, leastSpin)
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

// To wake a sleeper takes some 50 us, more than the gap between two operations of
// a token; a slice of the scheduler is some milliseconds.
const (
	leastSpin = 5 * time.Microsecond
	mostSpin  = 400 * time.Microsecond
)

// share is how many parts of a task each worker has.
const share = 4

func newPool(threads int) *pool {
	p := &pool{threads: threads, taken: make([]atomic.Uint64, threads*share), sleeps: make([]sleeper, threads)}
	for w := range threads {
		s := &p.sleeps[w]
		s.wake = make(chan struct{}, 1)
		if threads <= min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) { // else who spins would keep another from working
			s.spin, s.most = mostSpin, mostSpin
		}
		if w > 0 {
			go p.serve(w)
		}
	}
	return p
}

// run cuts [0, n) into contiguous ranges, the same for the same n, and returns
// when all are done. Ranges start at multiples of align. The task gets the number
// of the worker that runs it.
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
	p.parts = p.threads * min(share, max(1, n/align/p.threads))
	p.left.Store(int64(len(p.taken)))
	epoch := p.epoch.Add(1)
	for w := 1; w < p.threads; w++ {
		p.sleeps[w].rouse()
	}
	p.work(0, epoch)
	p.sleeps[0].wait(func() bool { return p.left.Load() == 0 })
	p.task = nil
}

// work does worker w's parts of the present task, in order, then those of others
// that nobody has begun, the last first.
func (p *pool) work(w int, epoch uint64) {
	for i := range p.threads {
		of := (w + i) % p.threads
		for j := range share {
			if i > 0 {
				j = share - 1 - j
			}
			if !p.taken[of*share+j].CompareAndSwap(epoch-1, epoch) {
				continue
			}
			// The task cannot end now before this part does.
			per := p.parts / p.threads
			if j < per {
				if lo, hi := cut(p.n, p.align, of*per+j, p.parts); lo < hi {
					p.task(w, lo, hi)
				}
			}
			if p.left.Add(-1) == 0 {
				p.sleeps[0].rouse()
			}
		}
	}
}

// cut is part w of [0, n), of so many.
func cut(n, align, w, parts int) (lo, hi int) {
	blocks := (n + align - 1) / align
	return min(n, blocks*w/parts*align), min(n, blocks*(w+1)/parts*align)
}

func (p *pool) serve(w int) {
	seen := uint64(0)
	for {
		p.sleeps[w].wait(func() bool { return p.epoch.Load() != seen })
		seen = p.epoch.Load()
		if p.closed.Load() {
			return
		}
		p.work(w, seen)
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
