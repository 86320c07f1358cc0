//go:build cuda || cudaemu

package cuda

import "fmt"

// scratchKind names a buffer that the device keeps for its operations. Each grows to the
// largest size that an operation needed. What it holds is lost with the next operation
// that uses it, unless its comment says otherwise.
type scratchKind int

const (
	scratchTokens           scratchKind = iota // token ids of a pass [N]
	scratchRows                                // row numbers of an operation
	scratchRowPositions                        // slot and position of every row [N, 2]
	scratchQueryTiles                          // tiles of queries of prefill attention [tiles, 4]
	scratchPartials                            // partial results of several blocks
	scratchCounters                            // blocks that are done, of split-KV reductions; zero between operations
	scratchHidden                              // normed or rounded rows [N, D]
	scratchHeadHidden                          // normed rows in front of the LM head [N, D]
	scratchHeadHiddenQ                         // those of the second model in CompareLogits
	scratchLogits                              // rows of logits
	scratchLogitsQ                             // those of the second model in CompareLogits
	scratchArgmaxCandidates                    // best logit of every block, argmax
	scratchArgmaxCounters                      // blocks that are done, argmax; zero between operations
	scratchArgmaxTokens                        // tokens that Argmax chose [N]
	scratchTargets                             // target tokens [N]
	scratchLossState                           // running sums over the vocabulary [N, numbers]
	scratchSums                                // float64 results
	scratchSquares                             // sum of squares of every block
	scratchSortedRows                          // rows sorted by token, in the gradient of the embedding
	scratchRowRanges                           // where each token begins in them
	scratchLossScales                          // scale of every row of the loss [N]
	scratchAttentionDelta                      // a' . a of every row and head, in attention's gradient
	scratchProductX                            // left operand of a training product, 16 bits
	scratchProductW                            // right operand, of a float32 parameter
	scratchProductY                            // gradients as an operand, 16 bits
	scratchProductScale                        // scales of rows that are rounded to float16
	scratchAdapterPartials                     // partial sums of an adapter product
	scratchAdapterU                            // u of an adapter, 16 bits
	scratchAdapterMatrix                       // A or B of an adapter, 16 bits
	scratchAdapterDU                           // gradient of u, float32
	scratchDropoutKeys                         // key of every span
	scratchSpanRows                            // position and span length of every row [N, 2]
	scratchSpanPositions                       // span and position of every row [N, 2]
	scratchSpanTiles                           // tiles of spans in training attention [tiles, 4]
	scratchStagedKV                            // keys and values of a pass before they have 8 bits
	scratchStagedRows                          // slot 0 and row number of every row [N, 2]
	scratchStagedRoPE                          // cosines and sines of every row [N, Dh/2, 2]; see Device.gathered
	scratchCount
)

var scratchNames = [scratchCount]string{
	scratchTokens:           "tokens",
	scratchRows:             "row numbers",
	scratchRowPositions:     "slots and positions",
	scratchQueryTiles:       "query tiles",
	scratchPartials:         "attention partials",
	scratchCounters:         "attention counters",
	scratchHidden:           "hidden",
	scratchHeadHidden:       "hidden of the LM head",
	scratchHeadHiddenQ:      "hidden of q",
	scratchLogits:           "logits",
	scratchLogitsQ:          "logits of q",
	scratchArgmaxCandidates: "argmax candidates",
	scratchArgmaxCounters:   "argmax counters",
	scratchArgmaxTokens:     "chosen tokens",
	scratchTargets:          "targets",
	scratchLossState:        "loss state",
	scratchSums:             "sums",
	scratchSquares:          "sums of squares",
	scratchSortedRows:       "sorted rows",
	scratchRowRanges:        "row ranges",
	scratchLossScales:       "loss scales",
	scratchAttentionDelta:   "attention delta",
	scratchProductX:         "product x",
	scratchProductW:         "product w",
	scratchProductY:         "product y",
	scratchProductScale:     "row scales",
	scratchAdapterPartials:  "adapter partials",
	scratchAdapterU:         "adapter u",
	scratchAdapterMatrix:    "adapter matrix",
	scratchAdapterDU:        "adapter u'",
	scratchDropoutKeys:      "dropout keys",
	scratchSpanRows:         "span rows",
	scratchSpanPositions:    "span positions",
	scratchSpanTiles:        "span tiles",
	scratchStagedKV:         "keys and values before rounding",
	scratchStagedRows:       "row numbers of keys and values",
	scratchStagedRoPE:       "RoPE of rows",
}

func (s scratchKind) String() string { return scratchNames[s] }

// scratchMemory returns the address of scratch of at least n bytes. If zero is set, new memory is
// filled with zeros.
func (d *Device) scratchMemory(s scratchKind, n int, zero bool) pointer {
	b := d.scratch[s]
	if b == nil || b.cols < n {
		n = max(roundUp(n, 256), 256)
		allocate := d.alloc
		if zero {
			allocate = d.zeroed
		}
		larger, err := allocate(1, n, n, 1)
		if err != nil {
			d.fail(fmt.Errorf("%w, for the scratch buffer of %v", err, s))
			return 0
		}
		if b != nil {
			b.Free()
		}
		d.scratch[s], b = larger, larger
	}
	d.retain(b)
	return b.p
}

// retain keeps a buffer's memory until the decode graph that is being captured is closed.
func (d *Device) retain(b *buffer) {
	if d.recorder != nil {
		b.users++
		d.recorder.retained = append(d.recorder.retained, b)
	}
}

// uploadScratch uploads a slice to scratch and returns its address.
func uploadScratch[T any](d *Device, s scratchKind, v []T) pointer {
	b := bytesOf(v)
	p := d.scratchMemory(s, len(b), false)
	d.uploadBytes(p, b, s.String())
	return p
}
