package model

import "mop/runtime/config"

// Flops returns the floating-point operations of a pass over n positions of one
// sequence whose cache holds past positions, with the logits of the last rows of the
// n. A multiply-add counts as two operations:
//
//	sum over layers of  2 n (2 H Dh D + 2 K Dh D + 3 D I)       projections
//	                  + 4 H Dh (n past + n (n+1)/2)             causal attention
//	+ 2 rows V D                                                logits
//
// Norms, RoPE, softmax and SiLU are well below one percent and are not counted.
func Flops(c *config.Config, past, n, rows int) int64 {
	D, N := int64(c.HiddenSize), int64(n)
	seen := N*int64(past) + N*(N+1)/2
	total := 2 * int64(rows) * int64(c.VocabSize) * D
	for _, s := range c.Layers {
		q, kv, I := int64(s.Heads)*int64(s.HeadDim), int64(s.KVHeads)*int64(s.HeadDim), int64(s.Intermediate)
		total += 2*N*D*(2*q+2*kv+3*I) + 4*q*seen
	}
	return total
}

// PromptFlops returns the operations of a prompt of n positions with the logits of the
// last one, as a Pass with LastOnly runs it: in the last layer with attention the other
// positions only leave keys and values, and later layers do not run them.
func PromptFlops(c *config.Config, n int) int64 {
	if n < LongPrompt {
		return Flops(c, 0, n, 1)
	}
	D, N := int64(c.HiddenSize), int64(n)
	total := 2 * int64(c.VocabSize) * D
	cut := c.LastAttention()
	for l, s := range c.Layers {
		q, kv, I := int64(s.Heads)*int64(s.HeadDim), int64(s.KVHeads)*int64(s.HeadDim), int64(s.Intermediate)
		rows, seen := N, N*(N+1)/2
		if l >= cut {
			rows, seen = 1, N
		}
		total += 2*rows*D*(2*q+3*I) + 4*q*seen
		if l == cut {
			rows = N
		}
		total += 2 * rows * D * 2 * kv
	}
	return total
}
