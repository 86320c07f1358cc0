package cpu

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"mop/internal/files"
	kernel "mop/kernels/cpu"
)

// pool is a fixed set of workers, of which the caller is worker 0. A task is split into a
// few parts for each worker, the same ones every time, so that a core finds its rows in
// its own cache. A waiting worker spins briefly, because the next task of a token comes
// within microseconds, and then sleeps.
//
// Free workers steal parts that others have not begun: two cores never read memory equally
// fast, and with too few cores a worker may not run for milliseconds. The result of a part
// does not depend on the worker that computes it. A worker that spun in vain spins for a
// shorter time when it waits next.
//
// The cost of a small task is that of moving its cache lines between cores. There are two:
// the worker's own line, which announces the work and holds the whole task, and the line
// with its count of finished parts, which no other worker writes.
type pool struct {
	threads int
	slots   []workerSlot // per worker
	closed  atomic.Bool
	_       [64]byte

	mu    sync.Mutex // one task at a time
	epoch uint64     // counts the tasks

	// fault is what the first part that panicked did so with.
	fault atomic.Pointer[any]
}

// workerSlot is a worker's.
type workerSlot struct {
	claims atomic.Uint64 // see claims
	task
	_    [16]byte
	done atomic.Uint64 // parts that the worker has done, ever
	_    [56]byte
	spinWaiter
}

// task is what there is to do, in every lane that has parts of it.
type task struct {
	run                               func(worker, lo, hi int)
	n, align, partsPerWorker, workers int // per parts for each of so many workers
}

// claims are the parts lo..hi-1 of a worker's that nobody has begun, of the task of an
// epoch: the worker takes the first, others the last.
type claims uint64

func newClaims(epoch uint64, n int) claims { return claims(epoch<<16 | uint64(n)) }

func (c claims) lo() int { return int(c >> 8 & 0xff) }
func (c claims) hi() int { return int(c & 0xff) }

// spinWaiter lets one goroutine sleep until another wakes it.
type spinWaiter struct {
	asleep  atomic.Bool
	signal  chan struct{} // capacity 1
	spin    time.Duration // how long to look before sleeping
	maxSpin time.Duration // that spin may be
	_       [32]byte      // a cache line of its own
}

// untimedChecks is how often to look without asking for the time: what a small task takes.
const untimedChecks = 32

// wait returns once ready does: it spins at first, then sleeps. Whoever makes
// ready true calls wake afterwards.
func (s *spinWaiter) wait(ready func() bool) {
	if s.spin > 0 {
		for range untimedChecks {
			if ready() {
				s.spinLonger()
				return
			}
			kernel.Pause(1)
		}
		start := time.Now()
		for {
			for range 8 {
				if ready() {
					s.spinLonger()
					return
				}
				kernel.Pause(2)
			}
			if time.Since(start) > s.spin {
				break
			}
		}
		s.spin = max(s.spin/4, minSpinTime)
	}
	for !ready() {
		s.asleep.Store(true)
		if ready() && s.asleep.CompareAndSwap(true, false) {
			return
		}
		<-s.signal
	}
}

// spinLonger lets the next wait spin for longer. What is the most already is left alone: others
// look at the line to see who sleeps.
func (s *spinWaiter) spinLonger() {
	if s.spin < s.maxSpin {
		s.spin = min(2*s.spin, s.maxSpin)
	}
}

// wake wakes the sleeper if it sleeps.
func (s *spinWaiter) wake() {
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
		s.signal <- struct{}{}
	}
}

// To wake a sleeper takes some 50 us, more than the gap between two operations of
// a token; a slice of the scheduler is some milliseconds.
const (
	minSpinTime = 5 * time.Microsecond
	maxSpinTime = 400 * time.Microsecond
)

// maxPartsPerWorker is how many parts of a task each worker has at most.
const maxPartsPerWorker = 4

func newPool(threads int) *pool {
	p := &pool{threads: threads, slots: make([]workerSlot, threads)}
	for w := range threads {
		s := &p.slots[w]
		s.signal = make(chan struct{}, 1)
		if threads <= min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) { // else who spins would keep another from working
			s.spin, s.maxSpin = maxSpinTime, maxSpinTime
		}
		if w > 0 {
			go p.serve(w)
		}
	}
	return p
}

// run cuts [0, n) into contiguous ranges, the same for the same n, and returns
// when all are done. Ranges start at multiples of align. The task gets the number
// of the worker that runs it. Where a part panics, such as one that cannot read a mapped
// file, run does so in its place once all others are done, whoever did the part.
func (p *pool) run(n, align int, do func(worker, lo, hi int)) {
	p.split(n, align, p.threads, maxPartsPerWorker, do)
}

// split is run with at most so many workers, of so many parts each.
func (p *pool) split(n, align, workers, per int, do func(worker, lo, hi int)) {
	if n <= 0 {
		return
	}
	blocks := (n + align - 1) / align
	if workers = min(workers, blocks); workers < 2 {
		do(0, 0, n)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
	t := task{do, n, align, min(per, blocks/workers), workers}
	c, before := uint64(newClaims(p.epoch, t.partsPerWorker)), p.countDone()
	for w := workers - 1; w >= 0; w-- {
		l := &p.slots[w]
		l.task = t
		l.claims.Store(c)
		if w > 0 {
			l.wake()
		}
	}
	want := before + uint64(t.partsPerWorker*t.workers-p.work(0))
	p.slots[0].wait(func() bool { return p.countDone() == want })
	if f := p.fault.Load(); f != nil {
		p.fault.Store(nil)
		panic(*f)
	}
}

// countDone returns how many parts workers other than the caller have done, ever.
func (p *pool) countDone() (n uint64) {
	for w := 1; w < p.threads; w++ {
		n += p.slots[w].done.Load()
	}
	return n
}

// work does worker w's parts of the present task, in order, then those of others
// that nobody has begun, the last first. It returns how many it did.
func (p *pool) work(w int) (done int) {
	defer func() {
		if r := recover(); r != nil {
			done += 1 + p.recordFault(w, r)
		}
	}()
	for i := range p.threads {
		of := (w + i) % p.threads
		l := &p.slots[of]
		for {
			c := claims(l.claims.Load())
			part, rest := c.lo(), c+1<<8
			if part == c.hi() {
				break
			}
			if i > 0 {
				part, rest = c.hi()-1, c-1
			}
			if !l.claims.CompareAndSwap(uint64(c), uint64(rest)) {
				continue
			}
			// The task cannot end now before this part counts as done.
			if lo, hi := partRange(l.n, l.align, of*l.partsPerWorker+part, l.partsPerWorker*l.workers); lo < hi {
				l.run(w, lo, hi)
			}
			done++
		}
	}
	return done
}

// recordFault keeps what a part panicked with, a fault on a mapped file or an error of the
// program, for the caller, and goes on with the other parts; it returns how many it did.
func (p *pool) recordFault(w int, fault any) int {
	if !files.IsFault(fault) { // the caller's stack does not show where it was
		fault = fmt.Sprintf("%v\n%s", fault, debug.Stack())
	}
	p.fault.CompareAndSwap(nil, &fault)
	return p.work(w)
}

// partRange is part w of [0, n), of so many.
func partRange(n, align, w, parts int) (lo, hi int) {
	blocks := (n + align - 1) / align
	return min(n, blocks*w/parts*align), min(n, blocks*(w+1)/parts*align)
}

func (p *pool) serve(w int) {
	files.Guard()
	l := &p.slots[w]
	ready := func() bool {
		c := claims(l.claims.Load())
		return c.lo() < c.hi() || p.closed.Load()
	}
	for !p.closed.Load() {
		l.wait(ready)
		if n := p.work(w); n > 0 {
			l.done.Add(uint64(n))
			p.slots[0].wake()
		}
	}
}

// close ends the workers. No run may follow.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Swap(true) {
		return
	}
	for w := 1; w < p.threads; w++ {
		p.slots[w].wake()
	}
}
