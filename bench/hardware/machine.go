// Package hardware says what machine this is, how fast it can read memory, the
// limit that decoding is measured against, and how fast it can multiply and
// add, the limit of prefill. Nothing flows in; out flow the processor's name,
// the physical memory, a read bandwidth and an arithmetic peak.
package hardware

import (
	"os"
	"runtime"
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
