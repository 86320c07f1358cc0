//go:build !linux

package files

// Advise asks for large pages under memory that was not yet written: here there is
// no way to.
func Advise([]byte) {}
