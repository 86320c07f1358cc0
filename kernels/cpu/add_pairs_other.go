//go:build !amd64

package cpu

// AddPairs makes each of sums n times the two products of the pairs x and y. It
// is for measuring processors that have an instruction for it.
func AddPairs(n int, x, y uint32, sums *[384]float32) { addPairsGeneric(n, x, y, sums) }
