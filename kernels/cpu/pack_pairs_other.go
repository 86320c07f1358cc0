//go:build !amd64

package cpu

import "unsafe"

// Without Pairs these are not called.

func transposePairs(*uint32, int, *[pairRows]unsafe.Pointer, int, uint16, uint16, uint32) {}

func interleavePairs(*uint32, *uint16, int, int) {}
