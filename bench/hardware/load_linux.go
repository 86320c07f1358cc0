//go:build linux

package hardware

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// OtherLoad is the processor time, over all cores since the machine started,
// that went to anything but this process, and that a hypervisor gave to other
// machines. Differences of two readings count; the system counts in steps of
// 10 ms. ok is false where it does not tell.
func OtherLoad() (others, steal time.Duration, ok bool) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, false
	}
	busy, steal, ok := cpuTimes(stat)
	var own unix.Rusage
	if !ok || unix.Getrusage(unix.RUSAGE_SELF, &own) != nil {
		return 0, 0, false
	}
	return busy - time.Duration(own.Utime.Nano()+own.Stime.Nano()), steal, true
}
