//go:build linux

package main

import (
	"os"
	"syscall"
)

// diskBytes is what a process that ended had to read from disk (getrusage(2)
// counts blocks of 512 bytes).
func diskBytes(p *os.ProcessState) int64 {
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		return 512 * u.Inblock
	}
	return 0
}
