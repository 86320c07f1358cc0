package cpu

// Pause tells the processor n times that this is a loop which waits, some tens of
// cycles each: it leaves the core's other thread and its power to others.
//
//go:noescape
func Pause(n int)
