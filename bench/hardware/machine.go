// Package hardware says what machine this is, how fast it can read memory, the
// limit that decoding is measured against, and how fast it can multiply and
// add, the limit of prefill. Nothing flows in; out flow the processor's name,
// the physical memory, a read bandwidth and an arithmetic peak.
package hardware

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what the operating system tells.
type Machine struct {
	CPU         string `json:"cpu"`          // the processor's name; its architecture where none is told
	Kind        string `json:"kind"`         // "family/model/stepping": virtual machines give unlike processors one name
	Cores       int    `json:"cores"`        // logical processors
	MemoryBytes int64  `json:"memory_bytes"` // physical; 0 = not told
	L3Bytes     int64  `json:"l3_bytes"`     // of the first processor; 0 = not told
}

// Describe asks the system. What it does not tell stays at its zero value.
func Describe() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU()}
	// A file that is absent reads as empty: other systems have no /proc.
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for _, field := range []string{"model name", "Model", "cpu model"} { // x86, ARM boards, MIPS
		if name := procField(cpuinfo, field); name != "" {
			m.CPU = strings.Join(strings.Fields(name), " ")
			break
		}
	}
	if family := procField(cpuinfo, "cpu family"); family != "" {
		m.Kind = family + "/" + procField(cpuinfo, "model") + "/" + procField(cpuinfo, "stepping")
	}
	meminfo, _ := os.ReadFile("/proc/meminfo")
	m.MemoryBytes = kibibytes(procField(meminfo, "MemTotal"))
	l3, _ := os.ReadFile("/sys/devices/system/cpu/cpu0/cache/index3/size")
	m.L3Bytes = kibibytes(strings.TrimSpace(string(l3)))
	return m
}

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
