// Package device defines what the model asks of the hardware. A Device holds weights,
// activations and KV caches, and performs the coarse operations of the forward pass.
// A Trainer performs those of training as well, and a GraphDecoder repeats a decode
// step without the host. Inputs are stored tensors and token ids; results are float32.
//
// Shapes: N rows (tokens) of activations, D hidden size, H query heads, K key/value
// heads, Dh head size, I intermediate size, V vocabulary. Matrices are row-major
// [out, in], and y = W x. Sums are accumulated in float32 or better, in an order that
// depends on the shapes alone, never on N or on the number of threads.
package device

import (
	"errors"

	"mop/runtime/checkpoint"
)

// ErrMemory is returned where a device has no memory left for a request. The device
// stays usable.
var ErrMemory = errors.New("out of device memory")

// ErrFreed is returned where a weight or a buffer is used after Free.
var ErrFreed = errors.New("used after it was freed")

// Weight is a stored tensor on the device: a matrix [out, in] or a vector [n].
type Weight interface {
	Shape() []int
	// Bytes is the size of the elements as they are stored on the device.
	Bytes() int64
	// Free gives the memory back. A second call does nothing.
	Free()
}

// Buffer is an array [Rows, Cols] on the device. Its elements are float32, except those
// of activations (see Device.Activations) and of a KVCache.
type Buffer interface {
	Rows() int
	Cols() int
	// Free gives the memory back. A second call does nothing.
	Free()
}

// Span describes consecutive tokens of one sequence: rows Row .. Row+Len-1 of the
// activations are positions Start .. Start+Len-1 of slot Slot.
type Span struct{ Slot, Start, Row, Len int }

// KVCache is one layer's cache: the keys and values of the positions of every slot, a slot
// being the number of a sequence. They lie in pages of a fixed number of positions, which
// slots take from a pool and give back.
type KVCache interface {
	// PageSize is the number of positions of a page.
	PageSize() int
	// PageBytes is the memory of a page.
	PageBytes() int64
	// Reserve makes sure that a slot has pages for its first positions. A pass needs
	// them for all positions up to its end. Where there is no memory it returns
	// ErrMemory, and the pages that the slot has stay.
	Reserve(slot, positions int) error
	// Release gives a slot's pages back to the pool.
	Release(slot int)
	// Free gives all memory back. The cache is of no use afterwards.
	Free()
}

// AttentionShape is the attention shape of one layer.
type AttentionShape struct{ H, K, Dh int }

// RoPEFrequencies holds the rotary frequencies, in radians per position.
type RoPEFrequencies struct {
	InvFreq []float32 // [Dh/2]
}

// LMHead is the final norm and the output projection over a residual stream: the logits
// of row n are W norm(x[n]). Operations on an LMHead reduce the logits as they are
// computed, so that [N, V] is never in memory as a whole.
type LMHead struct {
	X       Buffer // [N, D]
	Norm, W Weight // [D], [V, D]
	Eps     float64
	Phase   Phase // of the pass that computed X
}

// Divergence compares two rows of logits, p (the reference's) and q.
type Divergence struct {
	KL         float64 // sum p (log p - log q) over the softmaxes, in nats
	Cosine     float64 // of the logits
	SameArgmax bool    // both have their largest logit at the same index
}

// Phase says what a pass is for. A device chooses its kernels by the phase and the
// shape of the weights, never by the number of rows, so that a row has the same bits
// in a batch and alone. Results of the two phases agree to rounding.
type Phase uint8

const (
	Prefill Phase = iota // many rows share each weight: bound by arithmetic
	Decode               // one row for each sequence: bound by reading the weights
)

// String is "prefill" or "decode".
func (p Phase) String() string { return [...]string{"prefill", "decode"}[p] }

// Device performs the operations. Buffers and weights belong to the device that made
// them. Operations are queued and return nothing: the first failure is kept and
// returned by Sync.
type Device interface {
	// Capabilities describes the device. They do not change.
	Capabilities() Capabilities

	// SetComputeType sets the 16-bit type in which a device multiplies throughout a
	// model, before the model's weights are placed. Weights that are stored in
	// another type are rounded to it, to nearest even, which is logged; one beyond
	// the type's largest number is an error. A device
	// without Capabilities.SingleType multiplies every weight in its own type and
	// ignores the call.
	SetComputeType(t checkpoint.DType)
	// Place makes a weight of a tensor, whose bytes must stay valid and unchanged
	// until the weight is freed.
	Place(t checkpoint.Tensor, o PlaceOptions) (Weight, error)
	// PlaceRandom makes a weight of random numbers, the same bits as Place of
	// r.Tensor(), without the tensor in host memory where the device can do that.
	PlaceRandom(r checkpoint.RandomSpec, o PlaceOptions) (Weight, error)
	// Buffer makes a zeroed float32 array.
	Buffer(rows, cols int) (Buffer, error)
	// Activations makes an array [rows, widths[l]] for every layer l, for values
	// between two operations: what QKV, Attention and GateUp write and what
	// Attention, AddLinear, HeadL1 and ColumnL1 read. At any time only one of the
	// arrays holds values, so that they may share memory: layers of one width may
	// get the same Buffer. The element type is the device's choice.
	Activations(rows int, widths []int) ([]Buffer, error)
	// NewKVCache makes one layer's empty cache, of slots that hold up to maxPositions
	// positions each.
	NewKVCache(slots, maxPositions int, hs AttentionShape) (KVCache, error)
	// PeakBytes is the most memory that was allocated on the device at one time,
	// 0 where the device uses the host's memory.
	PeakBytes() int64
	// CopyBandwidth measures the bandwidth of copies within the device's memory, in
	// bytes per second; reads and writes both count. It is 0 where the device uses the
	// host's memory.
	CopyBandwidth() (float64, error)
	// Read copies rows [row, row+n) of b to dst, n*Cols numbers.
	Read(dst []float32, b Buffer, row, n int)
	// Write copies src to rows [row, row+n) of a float32 b, n = len(src)/Cols.
	Write(b Buffer, row int, src []float32)
	// Sync waits for all operations and returns the first error since the device was
	// opened. ErrMemory is returned once: the pass that met it is void, and the next
	// one may go on.
	Sync() error
	// Close frees all memory of the device.
	Close() error

	// Embed: x[n] = table[tokens[n]].        x [N, D], table [V, D]
	Embed(x Buffer, table Weight, tokens []int)
	// Gather: y[i] = x[rows[i]].             y [len(rows), C], x [N, C]
	Gather(y, x Buffer, rows []int)
	// Norm: y[n] = x[n] / rms(x[n]) * w, rms(x) = sqrt(mean(x^2) + eps), over the
	// given rows of x.                       y [len(rows), D], x [N, D], w [D]
	Norm(y, x Buffer, rows []int, w Weight, eps float64)
	// Linear: y[n] = W x[n], for the first n rows.     y [n, out], x [n, in]
	Linear(phase Phase, y, x Buffer, n int, w Weight)
	// QKV: h = norm(x); q = rope(Wq h); rope(Wk h) and Wv h are written to the cache
	// at each row's position.                q [N, H*Dh], x [N, D]
	QKV(phase Phase, q Buffer, kv KVCache, x Buffer, norm, wq, wk, wv Weight, eps float64, hs AttentionShape, rope RoPEFrequencies, spans []Span)
	// Attention: a[n,h] = softmax(q[n,h] . keys / sqrt(Dh)) values, causal, over the
	// positions of the row's own sequence; query head h reads KV head h/(H/K).
	//                                        a, q [N, H*Dh]
	Attention(phase Phase, a, q Buffer, kv KVCache, hs AttentionShape, spans []Span)
	// AddLinear: x[n] += W a[n], for the first n rows.  x [n, out], a [n, in]
	AddLinear(phase Phase, x, a Buffer, n int, w Weight)
	// GateUp: h = norm(x); m = silu(Wg h) * (Wu h), silu(z) = z/(1+exp(-z)), for the
	// first n rows.                          m [n, I], x [n, D]
	GateUp(phase Phase, m, x Buffer, n int, norm, wg, wu Weight, eps float64)

	// Argmax: tokens[i] = the index of the largest logit of row rows[i], the lowest
	// among equals; -1 where a logit is not finite.
	Argmax(tokens []int, h LMHead, rows []int)
	// NLL: nll[i] = log sum exp z - z[targets[i]], z being the logits of row rows[i];
	// in nats.
	NLL(nll []float64, h LMHead, rows, targets []int)
	// CompareLogits compares the logits of q with those of p, row by row.
	CompareLogits(d []Divergence, p, q LMHead, rows []int)

	// HeadL1: sums[h] += sum_n || Wo[:, h] a[n, h] ||_1, Wo[:, h] being head h's
	// [D, Dh] block of the output projection. The sums are float64.   a [n, H*Dh]
	HeadL1(sums []float64, a Buffer, n int, wo Weight, hs AttentionShape)
	// ColumnL1: sums[j] += sum_n |m[n, j]|.             m [n, I]
	ColumnL1(sums []float64, m Buffer, n int)
}
