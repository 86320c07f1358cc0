package cpu

// AddPairs makes each of sums n times the two products of the pairs x and y, out
// of registers: more sums than there are instructions in flight, so that nothing
// bounds it but the units that multiply. It is for measuring them.
func AddPairs(n int, x, y uint32, sums *[384]float32) {
	if AVX512.pairs() {
		addPairs(n, x, y, sums)
		return
	}
	addPairsGeneric(n, x, y, sums)
}

// addPairs is AddPairs with VDPBF16PS.
//
//go:noescape
func addPairs(n int, x, y uint32, sums *[384]float32)
