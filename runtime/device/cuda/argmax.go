//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

// Argmax: see device.Device.
func (d *Device) Argmax(tokens []int, h device.LMHead, rows []int) {
	n := len(rows)
	d.beginHead("argmax", n, h)
	if len(tokens) < n {
		d.fail(fmt.Errorf("argmax: want room for each of %d rows, got %d", n, len(tokens)))
	}
	list := d.checkRows(h, rows)
	if d.err != nil || n == 0 {
		return
	}
	V := h.W.Shape()[0]
	hidden := d.headHidden(scratchHeadHidden, h, uploadScratch(d, scratchRows, list), n)
	ldz := roundUp(V, 32)
	z := d.scratchMemory(scratchLogits, n*ldz*4, false)
	d.linearRows(h.Phase, rows16{z, ldz}, hidden, n, h.W.(*weight), 0, V)
	chosen := d.scratchMemory(scratchArgmaxTokens, 4*n, false)
	d.argmax(chosen, z, ldz, V, n, 0, 0, 0, 0)
	of := download[int32](d, chosen, n)
	if d.err != nil {
		return
	}
	for i, token := range of {
		tokens[i] = int(token)
	}
}

// argmax queues the kernel that chooses a token for each row of logits z [n, V]: the argmax
// token if params is 0, and otherwise a sample without filters by the rows' parameters.
func (d *Device) argmax(tokens, z pointer, ldz, V, n int, params, seen pointer, words int, positions pointer) {
	parts := max(1, min(64, V/1024))
	d.launch("argmax", [3]int{parts, n, 1}, 256, 128, tokens, z, ldz, V, params, seen, words, positions, d.scratchMemory(scratchArgmaxCandidates, 8*n*parts, false), d.scratchMemory(scratchArgmaxCounters, 4*n, true))
}
