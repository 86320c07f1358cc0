//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"

	"mop/runtime/device"
)

// Sample: see device.GraphDecoder.
func (d *Device) Sample(h device.LMHead, n int, filters bool) {
	r := d.recorder
	if r == nil {
		d.fail(errors.New("sample: want it captured"))
		return
	}
	d.beginHead("sample", n, h)
	V := h.W.Shape()[0]
	if n != r.n || n > h.X.Rows() || V != r.rows.V {
		d.fail(fmt.Errorf("sample: want %d rows and a vocabulary of %d, got %d of %d rows and %d", r.n, r.rows.V, n, h.X.Rows(), V))
		return
	}
	hidden := d.headHidden(scratchHeadHidden, h, 0, n)
	ldz := roundUp(V, 32)
	z := d.scratchMemory(scratchLogits, n*ldz*4, false)
	d.linearRows(device.Decode, rows16{z, ldz}, hidden, n, h.W.(*weight), 0, V)
	d.sample(z, ldz, V, n, r.rows, filters)
}

// sample queues the choice of a token for each row of logits z [n, V], by the rows' own
// parameters. The tokens are the rows' next input.
func (d *Device) sample(z pointer, ldz, V, n int, r *decodeRows, filters bool) {
	if filters {
		d.launch("sample", [3]int{n, 1, 1}, sampleThreads, sampleSharedBytes, r.tokensAt(), z, ldz, V, r.paramsAt(), r.seen.p, r.words, r.positionsAt())
		return
	}
	d.argmax(r.tokensAt(), z, ldz, V, n, r.paramsAt(), r.seen.p, r.words, r.positionsAt())
}

// argmax queues the choice of a token for each row of logits z [n, V]: the argmax where
// params is 0, and else what the rows' parameters say.
func (d *Device) argmax(tokens, z pointer, ldz, V, n int, params, seen pointer, words int, places pointer) {
	parts := max(1, min(64, V/1024))
	d.launch("argmax", [3]int{parts, n, 1}, 256, 128, tokens, z, ldz, V, params, seen, words, places, d.scratchMemory(scratchArgmaxCandidates, 8*n*parts, false), d.scratchMemory(scratchArgmaxCounters, 4*n, true))
}
