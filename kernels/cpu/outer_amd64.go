package cpu

import "golang.org/x/sys/cpu"

// Outer computes c (+)= sum_k a[k] b[k]ᵀ in the order of k, with fused
// multiply-adds where the processor has them.
// a [k, OuterRows], b [k, OuterCols], c [OuterRows, OuterCols] of row length ldc
func Outer(k int, a, b, c []float32, ldc int, add bool) {
	_, _, _ = a[:k*OuterRows], b[:k*OuterCols], c[:(OuterRows-1)*ldc+OuterCols]
	if k == 0 || !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		outer(k, a, b, c, ldc, add)
		return
	}
	outerFMA(k, &a[0], &b[0], &c[0], ldc, add)
}

//go:noescape
func outerFMA(k int, a, b, c *float32, ldc int, add bool)
