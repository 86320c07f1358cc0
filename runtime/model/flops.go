package model

import "mop/runtime/config"

// Flops is what it takes to run n more positions of one sequence when its cache
// holds past of them, and to form the logits of the last rows of the n. A
// multiply-add counts as two operations:
//
//	sum over layers of  2 n (2 H Dh D + 2 K Dh D + 3 D I)       the matrices
//	                  + 4 H Dh (n past + n (n+1)/2)             q.k and the sums of v, causal
//	+ 2 rows V D                                                logits
//
// Norms, rotations, softmax and silu, well below one percent, are not counted.
func Flops(c *config.Config, past, n, rows int) int64 {
	D, N := int64(c.Dim), int64(n)
	seen := N*int64(past) + N*(N+1)/2
	total := 2 * int64(rows) * int64(c.Vocab) * D
	for _, s := range c.Layers {
		q, kv, I := int64(s.Heads)*int64(s.HeadDim), int64(s.KVHeads)*int64(s.HeadDim), int64(s.MLP)
		total += 2*N*D*(2*q+2*kv+3*I) + 4*q*seen
	}
	return total
}
