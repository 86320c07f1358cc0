//go:build !linux

package files

// Advise does nothing: this system has no way to ask for large pages.
func Advise([]byte) {}
