//go:build !amd64

package cpu

import "runtime"

// Pause tells the processor n times that this is a loop which waits, some tens of
// cycles each: it leaves the core's other thread and its power to others.
func Pause(n int) { runtime.Gosched() }
