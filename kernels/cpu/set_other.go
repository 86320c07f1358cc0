//go:build !amd64

package cpu

// best is the fastest set that this processor, and the system on it, can run.
func best() Set { return Generic }
