// Package machine describes the computer that this process runs on: the processor's
// name, the number of cores, the sizes of memory and last-level cache.
package machine

import (
	"os"
	"runtime"
	"strings"
)

// Info is what the operating system says about the machine.
type Info struct {
	CPU         string `json:"cpu"`          // the processor's name; its architecture where the system gives none
	Kind        string `json:"kind"`         // "family/model/stepping": virtual machines give unlike processors one name
	Cores       int    `json:"cores"`        // logical processors
	MemoryBytes int64  `json:"memory_bytes"` // physical; 0 = not known
	L3Bytes     int64  `json:"l3_bytes"`     // of the first processor; 0 = not known
}

// Describe asks the operating system. What it does not say stays at its zero value.
func Describe() Info {
	m := Info{CPU: runtime.GOARCH, Cores: runtime.NumCPU()}
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
