package cpu

import "unsafe"

// transposePairs writes columns of 16 rows of pairs as rows: dst[p*width+i] =
// rows[i][p] for p < n, a multiple of 16, in the lanes i of store; lanes that keep
// lacks are zero, and so are elements (16-bit) of each 16 pairs that words lacks.
//
//go:noescape
func transposePairs(dst *uint32, width int, rows *[pairRows]unsafe.Pointer, n int, store, keep uint16, words uint32)

// interleavePairs is PackPairColumns for 32 columns and n pairs, n >= 1.
//
//go:noescape
func interleavePairs(dst *uint32, src *uint16, stride, n int)
