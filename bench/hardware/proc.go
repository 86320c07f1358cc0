package hardware

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
	"time"
)

// procField finds the first "name : value" line.
func procField(file []byte, name string) string {
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 1<<20) // the flags line is long
	for lines.Scan() {
		key, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// kibibytes reads "64 kB" and "32768K", as the kernel writes them; both count
// 1024 bytes. What is neither is 0.
func kibibytes(s string) int64 {
	number := strings.TrimSpace(strings.TrimRight(s, "KkB "))
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<50 || number == s {
		return 0
	}
	return n << 10
}

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
