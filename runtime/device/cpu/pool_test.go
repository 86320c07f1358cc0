package cpu

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Every element of every task is met exactly once, whatever the number of workers.
func TestPoolCoversAll(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 7} {
		p := newPool(threads)
		for _, n := range []int{0, 1, 3, 4, 5, 8, 31, 1000} {
			for _, align := range []int{1, 4, 16} {
				met := make([]atomic.Int32, n)
				p.run(n, align, func(worker, lo, hi int) {
					if worker < 0 || worker >= threads || lo%align != 0 || lo >= hi {
						t.Errorf("worker %d of %d: [%d, %d) of %d by %d", worker, threads, lo, hi, n, align)
					}
					for i := lo; i < hi; i++ {
						met[i].Add(1)
					}
				})
				for i := range met {
					if c := met[i].Load(); c != 1 {
						t.Fatalf("%d threads, %d by %d: element %d met %d times", threads, n, align, i, c)
					}
				}
			}
		}
		p.close()
	}
}

// patience is more than any machine takes to let a goroutine run.
const patience = 20 * time.Second

// Workers run at once: parts that wait for one another end.
func TestPoolIsParallel(t *testing.T) {
	for _, threads := range []int{2, 3, 7} {
		p := newPool(threads)
		for i := 0; i < 20 && !t.Failed(); i++ {
			var here atomic.Int32
			p.run(threads, 1, func(_, _, _ int) {
				here.Add(1)
				for start := time.Now(); int(here.Load()) < threads; runtime.Gosched() {
					if time.Since(start) > patience {
						t.Errorf("%d of %d parts began within %v", here.Load(), threads, patience)
						here.Add(int32(threads))
					}
				}
			})
		}
		p.close()
	}
}

// Workers without work sleep: they end up blocked on their signal.
func TestPoolSleeps(t *testing.T) {
	p := newPool(max(2, min(runtime.NumCPU(), runtime.GOMAXPROCS(0))))
	defer p.close()
	p.run(100, 1, func(_, _, _ int) {})
	start := time.Now()
	for w := 1; w < len(p.slots); w++ { // slot 0 is the caller's
		for !p.slots[w].asleep.Load() {
			if time.Since(start) > patience {
				t.Fatalf("worker %d did not sleep within %v", w, patience)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// Who waits looks again and again before it sleeps, and sleeps in the end.
func TestSpinWaiter(t *testing.T) {
	looks, slept := 0, false
	s := spinWaiter{signal: make(chan struct{}, 1), spin: time.Hour, maxSpin: time.Hour}
	s.wait(func() bool {
		looks++
		slept = slept || s.asleep.Load()
		return slept || looks == 1000
	})
	if slept {
		t.Errorf("slept after %d looks", looks)
	}
	s.spin = time.Microsecond
	var woken atomic.Bool
	done := make(chan struct{})
	go func() {
		s.wait(woken.Load)
		close(done)
	}()
	for start := time.Now(); !s.asleep.Load(); time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("did not sleep within %v", patience)
		}
	}
	woken.Store(true)
	s.wake()
	<-done
}

// Workers spin where each has a core, and nobody where some would be in the way.
func TestPoolSpins(t *testing.T) {
	cores := min(runtime.NumCPU(), runtime.GOMAXPROCS(0))
	for _, threads := range []int{1, cores, cores + 1} {
		p := newPool(threads)
		for w := range threads {
			if s := &p.slots[w]; (s.maxSpin > 0) != (threads <= cores) {
				t.Errorf("worker %d of %d on %d cores spins for up to %v", w, threads, cores, s.maxSpin)
			}
		}
		p.close()
	}
}

// Where more goroutines want to run than there are cores, small tasks are still complete:
// the caller takes over the parts that a worker has not begun. The time is only logged.
func TestPoolUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("it loads all cores")
	}
	p := newPool(runtime.GOMAXPROCS(0))
	defer p.close()
	var stop atomic.Bool
	defer stop.Store(true)
	for range 3 * runtime.NumCPU() {
		go func() {
			for !stop.Load() {
			}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	const tasks = 200
	start := time.Now()
	sum := make([]float32, 1<<12)
	for range tasks {
		p.run(len(sum), 16, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				sum[i]++
			}
		})
	}
	t.Logf("%v a task", time.Since(start)/tasks)
	for i, n := range sum {
		if n != tasks {
			t.Fatalf("element %d was computed %v times in %d tasks", i, n, tasks)
		}
	}
}
