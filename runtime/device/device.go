// Package device is the seam between the model and the hardware. A Device
// places weights, owns activations, and performs the coarse operations of which
// the forward pass is made. What flows in: stored tensors and token ids. What
// flows out: float32 rows.
//
// Notation: N rows (tokens) of activations, D model width, H query heads, K
// key/value heads, Dh head width, I MLP width, V vocabulary. Matrices are
// row-major [out, in]; y = W x. All sums are float32 or better, in an order
// that depends on the shape alone: never on N, nor on the number of threads.
package device

import (
	"errors"

	"mop/runtime/checkpoint"
)

// ErrMemory says that a device has no room for what was asked; it stays usable.
var ErrMemory = errors.New("out of device memory")

// Weight is a stored tensor placed on the device, in its checkpoint's type:
// a matrix [out, in] or a vector [n].
type Weight interface {
	Shape() []int
	Bytes() int64
}

// Buffer is a float32 array [Rows, Cols] on the device.
type Buffer interface {
	Rows() int
	Cols() int
}

// Span places consecutive tokens of one sequence: rows Row .. Row+Len-1 of the
// activations are positions Start .. Start+Len-1 of cache sequence Seq.
type Span struct{ Seq, Start, Row, Len int }

// KVCache is one layer's cache for B sequences of up to Capacity positions. Position
// p of sequence s is row s*Capacity+p of both buffers; where a row lies is the
// device's choice.
type KVCache struct {
	Keys, Values Buffer // [B*Capacity, K*Dh]
	Capacity     int
}

// AttentionShape is the attention shape of one layer.
type AttentionShape struct{ H, K, Dh int }

// RoPEFrequencies holds the rotary frequencies, radians per position.
type RoPEFrequencies struct {
	InvFreq []float32 // [Dh/2]
}

// LMHead is the end of a model over its residual stream: the logits of row n are
// W norm(x[n]). Operations on a LMHead reduce logits where they are made; [N, V]
// is never in memory as a whole.
type LMHead struct {
	X       Buffer // [N, D]
	Norm, W Weight // [D], [V, D]
	Eps     float64
	Phase   Phase // of the pass that made X
}

// Pager is a Device whose caches take memory as positions come: before a pass, each of
// its sequences is extended to the positions that the pass ends at. Where there is no
// room it says so, and what is there stays.
type Pager interface {
	Extend(kv KVCache, seq, positions int) error
}

// Divergence compares two rows of logits, p the reference's.
type Divergence struct {
	KL         float64 // sum p (log p - log q), p and q being the softmaxes, in nats
	Cosine     float64 // of the logits
	SameArgmax bool    // both have their largest logit at the same index
}

// Maker is a Device that makes random weights by itself, the host's to the bit.
type Maker interface {
	Make(r checkpoint.RandomSpec) (Weight, error)
}

// Typed is a Device that multiplies in one 16-bit type all through a model. Weights
// placed from then on are of that type, whatever they are stored in: others are
// rounded to nearest even, which a note says, and one that is beyond the type's largest
// number is refused.
type Typed interface {
	ComputeIn(t checkpoint.DType)
}

// Rounder is a device that can multiply weights stored as bfloat16 by activations,
// and gradients, rounded to it; sums stay float32. Activations and gradients
// themselves stay float32, and other weights are placed as ever.
type Rounder interface {
	PlaceRounded(t checkpoint.Tensor) (Weight, error)
}

// Phase says what a pass is for. A device chooses its kernels by the kind and the
// shape of the weights, never by the number of rows: a row's bits are then the
// same in a batch and alone. Between the kinds, results agree to rounding.
type Phase uint8

const (
	Prefill Phase = iota // many rows share each weight: bound by arithmetic
	Decode               // a row for each sequence: bound by reading the weights
)

// String is "prefill" or "decode".
func (k Phase) String() string { return [...]string{"prefill", "decode"}[k] }

// Device performs the operations. Buffers and weights of one device are of no
// use to another. Operations return nothing: the first failure is kept and
// reported by Sync.
type Device interface {
	// Name is what the user types: "cpu".
	Name() string
	// Threads is the number of host threads that compute.
	Threads() int
	// Place makes a weight; the tensor's bytes must outlive it.
	Place(t checkpoint.Tensor) (Weight, error)
	// Buffer makes a zeroed array of float32.
	Buffer(rows, cols int) (Buffer, error)
	// Inner makes an array [rows, width] for each of the widths, for activations on
	// their way from one operation to the next: what QKV, Attend and GateUp write
	// and Attend, AddLinear, HeadSums and ColumnSums read. Only one of them holds
	// anything at a time, so that a device may put all in the same memory. The
	// element type is the device's choice.
	Inner(rows int, widths []int) (map[int]Buffer, error)
	// Cache makes one layer's empty cache.
	Cache(sequences, capacity int, hs AttentionShape) (KVCache, error)
	// CacheBytes is the size of a cached element, in bytes.
	CacheBytes() int
	// Read copies rows [row, row+n) of b to dst, n*Cols floats.
	Read(dst []float32, b Buffer, row, n int)
	// Write copies src to rows [row, row+n) of a float32 b, n = len(src)/Cols.
	Write(b Buffer, row int, src []float32)
	// Sync waits for all operations and returns the first error, for good.
	Sync() error
	Close() error

	// Embed: x[n] = table[ids[n]].        x [N, D], table [V, D]
	Embed(x Buffer, table Weight, ids []int)
	// Gather: y[i] = x[rows[i]].           y [len(rows), C], x [N, C]
	Gather(y, x Buffer, rows []int)
	// Norm: y[n] = x[n] / rms(x[n]) * w, rms(x) = sqrt(mean(x^2) + eps), over
	// the given rows of x; y [len(rows), D].
	Norm(y, x Buffer, rows []int, w Weight, eps float64)
	// Linear: y[n] = W x[n], for the first n rows.   y [n, out], x [n, in]
	Linear(kind Phase, y, x Buffer, n int, w Weight)
	// QKV: h = norm(x); q = rope(Wq h); rope(Wk h) and Wv h are appended to the
	// cache at each row's position.       q [N, H*Dh]
	QKV(kind Phase, q Buffer, kv KVCache, x Buffer, norm, wq, wk, wv Weight, eps float64, hs AttentionShape, rope RoPEFrequencies, spans []Span)
	// Attention: a[n,h] = softmax(q[n,h] . keys / sqrt(Dh)) values, causal, over the
	// positions of the row's own sequence; query head h reads KV head h/(H/K).
	Attention(kind Phase, a, q Buffer, kv KVCache, hs AttentionShape, spans []Span)
	// AddLinear: x[n] += W a[n], for the first n rows.   x [n, out], a [n, in]
	AddLinear(kind Phase, x, a Buffer, n int, w Weight)
	// GateUp: h = norm(x); m = silu(Wg h) * (Wu h), silu(z) = z/(1+exp(-z)),
	// for the first n rows.                          m [n, I]
	GateUp(kind Phase, m, x Buffer, n int, norm, wg, wu Weight, eps float64)

	// Argmax: ids[i] = the index of the largest of h's logits of row rows[i], the
	// lowest of equals; -1 where one is not finite.
	Argmax(ids []int, h LMHead, rows []int)
	// NLL: nll[i] = log sum exp z - z[targets[i]], z being h's logits of row
	// rows[i]; nats.
	NLL(nll []float64, h LMHead, rows, targets []int)
	// CompareLogits holds the logits of q against those of p, row by row.
	CompareLogits(d []Divergence, p, q LMHead, rows []int)

	// HeadL1: sums[h] += sum_n || Wo[:, h] a[n, h] ||_1, Wo[:, h] being head h's
	// [D, Dh] block of the output projection; a [n, H*Dh]. Sums are float64.
	HeadL1(sums []float64, a Buffer, n int, wo Weight, hs AttentionShape)
	// ColumnL1: sums[j] += sum_n |m[n, j]|.        m [n, I]
	ColumnL1(sums []float64, m Buffer, n int)
}
