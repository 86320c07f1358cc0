package hardware

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// ClockMHz is the present clock of the first core, 0 where the system does not say.
func ClockMHz() float64 {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(info) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "cpu MHz" {
			mhz, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return mhz
		}
	}
	return 0
}
