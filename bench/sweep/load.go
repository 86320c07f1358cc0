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

// slower is how much longer than usual the base's passes may take during a visit. A neighbour
// on the same memory slows a machine down without showing in its load.
const slower = 1.25

// usual are the medians of the base's times in each setting, over the visits without load.
func (j visits) usual() map[setting]baseTimes {
	quiet := map[setting][]baseTimes{}
	for _, v := range j.Records {
		if v.Load <= latency.Busy {
			quiet[v.Setting] = append(quiet[v.Setting], v.Beside)
		}
	}
	out := map[setting]baseTimes{}
	for x, list := range quiet {
		out[x] = medianTimes(list)
	}
	return out
}

func medianTimes(list []baseTimes) baseTimes {
	var prefill, decode []float64
	for _, t := range list {
		prefill, decode = append(prefill, t.Prefill), append(decode, t.Decode)
	}
	return baseTimes{median(prefill), median(decode)}
}

// usable reports whether a visit was not disturbed: nothing else took more than
// latency.Busy of the machine, and the base beside it was not slower than usual by more
// than the factor slower.
func (v *visit) usable(usual baseTimes) bool {
	return v.Load <= latency.Busy && v.Beside.Decode <= slower*usual.Decode && v.Beside.Prefill <= slower*usual.Prefill
}

// undisturbed counts the usable visits of one task.
func (j visits) undisturbed(t *task, usual map[setting]baseTimes) (n int) {
	for _, v := range j.of(t.key) {
		if v.usable(usual[t.setting]) {
			n++
		}
	}
	return n
}
