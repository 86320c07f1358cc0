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

// Where more wants to run than there are cores, small tasks still go through: a
// worker that does not come to run is not waited for while its part is not begun.
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
	taken := time.Since(start)
	t.Logf("%v a task", taken/tasks)
	// Go gives a goroutine 10 ms at a time: one wait a task would be 2 s.
	if taken > time.Second {
		t.Errorf("%d small tasks took %v", tasks, taken)
	}
}
