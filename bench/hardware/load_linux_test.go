package hardware

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The load of others is the time of all cores without what this process took: never more
// than the one read later without the other read earlier, nor less than the reverse.
func TestOtherLoadLeavesOutOwn(t *testing.T) {
	times := func() (busy, own time.Duration) {
		t.Helper()
		stat, err := os.ReadFile("/proc/stat")
		if err != nil {
			t.Skip(err)
		}
		busy, _, ok := cpuTimes(stat)
		if !ok {
			t.Skip("the system does not report the times of its cores")
		}
		var usage unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		return busy, time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	// A process that has taken time itself: 300 ms of one core, on an idle machine.
	for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
	}
	busyBefore, ownBefore := times()
	others, _, ok := OtherLoad()
	busyAfter, ownAfter := times()
	if least, most := busyBefore-ownAfter, busyAfter-ownBefore; !ok || others < least || others > most {
		t.Errorf("want %v to %v of others, got %v, %v", least, most, others, ok)
	}
	t.Logf("this process took %v, others %v", ownBefore, others)
}
