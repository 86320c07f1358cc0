package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// pool is a fixed set of workers. The caller is worker 0; the others wait for
// the next task by spinning briefly, because the next one usually comes within
// microseconds, and then sleep.
type pool struct {
	threads int
	mu      sync.Mutex // one task at a time
	task    func(worker, lo, hi int)
	n       int
	epoch   atomic.Uint64 // counts the tasks; workers watch it
	pending atomic.Int64  // workers that have not finished the present task
	closed  atomic.Bool
	sleep   sync.Mutex
	wake    *sync.Cond
	asleep  atomic.Int64
}

// spins is how often a worker looks for a task before it sleeps: some tens of
// microseconds, longer than the gap between two operations of a token.
const spins = 20000

func newPool(threads int) *pool {
	p := &pool{threads: threads}
	p.wake = sync.NewCond(&p.sleep)
	for w := 1; w < threads; w++ {
		go p.work(w)
	}
	return p
}

// run cuts [0, n) into one contiguous range per worker, the same for the same
// n, and returns when all are done. Ranges start at multiples of align.
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
	p.task, p.n = func(w, _, _ int) {
		lo, hi := cut(n, align, w, p.threads)
		if lo < hi {
			task(w, lo, hi)
		}
	}, n
	p.pending.Store(int64(p.threads - 1))
	p.epoch.Add(1)
	if p.asleep.Load() > 0 {
		p.sleep.Lock()
		p.wake.Broadcast()
		p.sleep.Unlock()
	}
	p.task(0, 0, 0)
	for i := 0; p.pending.Load() > 0; i++ {
		if i > 1000 {
			runtime.Gosched()
		}
	}
	p.task = nil
}

// cut is worker w's part of [0, n).
func cut(n, align, w, workers int) (lo, hi int) {
	blocks := (n + align - 1) / align
	return min(n, blocks*w/workers*align), min(n, blocks*(w+1)/workers*align)
}

func (p *pool) work(w int) {
	seen := uint64(0)
	for {
		for i := 0; p.epoch.Load() == seen; i++ {
			if i < spins {
				if i%64 == 63 {
					runtime.Gosched()
				}
				continue
			}
			p.sleep.Lock()
			p.asleep.Add(1)
			for p.epoch.Load() == seen {
				p.wake.Wait()
			}
			p.asleep.Add(-1)
			p.sleep.Unlock()
		}
		seen++
		if p.closed.Load() {
			return
		}
		p.task(w, 0, 0)
		p.pending.Add(-1)
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
	p.sleep.Lock()
	p.wake.Broadcast()
	p.sleep.Unlock()
}
