package sweep

import (
	"runtime"
	"time"

	"mop/bench/hardware"
	"mop/bench/latency"
)

// loadMeter notices what other processes and the hypervisor take from the machine.
type loadMeter struct {
	read  func() (others, steal time.Duration, ok bool)
	now   func() time.Time
	cores int
}

func newLoadMeter(read func() (others, steal time.Duration, ok bool), now func() time.Time) loadMeter {
	if read == nil {
		read = hardware.OtherLoad
	}
	if now == nil {
		now = time.Now
	}
	return loadMeter{read, now, runtime.NumCPU()}
}

// during runs f and returns the share of all cores that others took meanwhile; 0 where
// the system does not say.
func (m loadMeter) during(f func() error) (load float64, err error) {
	start := m.now()
	others, steal, ok := m.read()
	err = f()
	othersAfter, stealAfter, okAfter := m.read()
	elapsed := m.now().Sub(start)
	if !ok || !okAfter || elapsed <= 0 {
		return 0, err
	}
	taken := othersAfter - others + stealAfter - steal
	return min(max(0, float64(taken)/float64(elapsed)/float64(m.cores)), 1), err
}

// slower is how much longer than the fastest of its kind a visit may take. A neighbour
// on the same memory slows a machine down without showing in its load.
const slower = 1.05

// usable marks the visits of one kind that were not disturbed: nothing else took more
// than latency.Busy of the machine, and none took longer than the fastest undisturbed
// one by more than the share slower. total[i] and load[i] are of visit i.
func usable(total, load []float64) []bool {
	ok := make([]bool, len(total))
	fastest := 0.0
	for i, t := range total {
		if load[i] <= latency.Busy && (fastest == 0 || t < fastest) {
			fastest = t
		}
	}
	for i, t := range total {
		ok[i] = load[i] <= latency.Busy && t <= slower*fastest
	}
	return ok
}
