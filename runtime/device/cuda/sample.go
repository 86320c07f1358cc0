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
		d.fail(errors.New("sample: want a call within Capture"))
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

// sample queues the kernel that samples a token for each row of logits z [n, V] with the
// row's parameters. The tokens become the rows' next input.
func (d *Device) sample(z pointer, ldz, V, n int, r *decodeRows, filters bool) {
	if filters {
		d.launch("sample", [3]int{n, 1, 1}, sampleThreads, sampleSharedBytes, r.tokensAt(), z, ldz, V, r.paramsAt(), r.seen.p, r.words, r.positionsAt())
		return
	}
	d.argmax(r.tokensAt(), z, ldz, V, n, r.paramsAt(), r.seen.p, r.words, r.positionsAt())
}
