//go:build !linux

// Package hugepage asks the system for large pages: reading memory at full speed
// wants few translations of addresses.
package hugepage

// Advise asks for large pages under memory that was not yet written: here there is
// no way to.
func Advise([]byte) {}
