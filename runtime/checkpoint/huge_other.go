//go:build !linux

package checkpoint

// hugePages asks the system to back memory that was not yet written with large
// pages: here there is no way to.
func hugePages([]byte) {}
