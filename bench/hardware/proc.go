package hardware

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// cpuTimes reads the first line of /proc/stat (proc(5)): the times of all cores
// together, in hundredths of a second: user nice system idle iowait irq softirq
// steal. busy is all but idle, iowait and steal.
func cpuTimes(stat []byte) (busy, steal time.Duration, ok bool) {
	line, _, _ := bytes.Cut(stat, []byte{'\n'})
	fields := strings.Fields(string(line))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, false
	}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			return 0, 0, false
		}
		t := time.Duration(n) * 10 * time.Millisecond
		switch i {
		case 3, 4: // idle, iowait
		case 7:
			steal = t
		default:
			busy += t
		}
	}
	return busy, steal, true
}
