//go:build !amd64

package cpu

// Outer computes c (+)= sum_k a[k] b[k]ᵀ in the order of k.
// a [k, OuterRows], b [k, OuterCols], c [OuterRows, OuterCols] of row length ldc
func Outer(k int, a, b, c []float32, ldc int, add bool) { outer(k, a, b, c, ldc, add) }
