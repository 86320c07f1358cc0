package device

import "fmt"

// Trainer is a Device that also performs the operations of training: forward operations
// that save what the backward pass needs, and their gradients. Gradients of parameters are
// added to the values in their buffer. Those of activations are too where an operation says
// so, so that the input of several operations collects the gradients of all of them. A row's
// sums never depend on the other rows of a call, and no sum depends on the number of threads.
//
// y' stands for the gradient of the loss by y.
type Trainer interface {
	Device

	// Clear zeroes the first n rows.
	Clear(b Buffer, n int)
	// Copy copies the first n rows of src to dst.
	Copy(dst, src Buffer, n int)
	// OperandBuffer makes a buffer for what the weights multiply in LinearForward, or where
	// gradient is set for the gradient of what they give, in the type in which products take
	// it: NormForward, SwiGLU and SwiGLUBackward write it, LinearForward and LinearBackward read
	// it. ws has the gains of those norms too. It is nil where a Buffer is as good. The gradients
	// of these weights themselves are not computed from it.
	OperandBuffer(rows, cols int, gradient bool, ws ...Weight) (Buffer, error)
	// Parameter views the whole of a buffer as a float32 matrix [Rows, Cols], or
	// as a vector [Cols] where vector is set: what is written to the buffer is
	// what the weight multiplies by.
	Parameter(b Buffer, vector bool) Weight

	// NormForward: y[n] = x[n] r[n] * w, r[n] = 1/rms(x[n]).
	// y, x [n, D], r [n, 1], w [D]
	NormForward(y, r, x Buffer, n int, w Weight, eps float64)
	// NormBackward: x' += r (w*y' - x mean(w*y'*x) r^2); w' += sum_n y'*x r, where dw
	// is not nil.                                  dx, dy, x [n, D], dw [1, D]
	NormBackward(dx, dw, dy, x, r Buffer, n int, w Weight)

	// LinearForward: y[n] = W x[n] + s B u[n], u[n] = A drop(x[n]); without an adapter
	// W x[n] alone. With add, y += it.  y [n, out], x [n, in], u [n, rank]
	LinearForward(y, u, x Buffer, n int, w Weight, ad *Adapter, add bool)
	// LinearBackward: x' = Wᵀ y' + drop(Aᵀ u'), u' = s Bᵀ y'; A' += u' drop(x)ᵀ;
	// B' += s y' uᵀ; W' += y' xᵀ where dw is not nil. With add, x' += it. A nil dx is left
	// out.
	LinearBackward(dx, dw, dy, x, u Buffer, n int, w Weight, ad *Adapter, add bool)

	// RoPE rotates every head of x [n, heads*Dh] by its row's position; back reverses it.
	RoPE(x Buffer, dh int, rope RoPEFrequencies, spans []Span, back bool)
	// AttentionForward is causal attention within each span, whose keys are rows of
	// k and v as its queries are of q; Start and Slot are not used. stats[n, h] =
	// log sum exp of the row's scores.
	// a, q [n, H*Dh], k, v [n, K*Dh], stats [n, H]
	AttentionForward(a, stats, q, k, v Buffer, hs AttentionShape, spans []Span)
	// AttentionBackward sets the gradients by q, k and v; the probabilities are made
	// again from stats, never [T, T] of them at once.
	AttentionBackward(dq, dk, dv, da, a, stats, q, k, v Buffer, hs AttentionShape, spans []Span)
	// SwiGLU: m = silu(g) * u.                                  m, g, u [n, I]
	SwiGLU(m, g, u Buffer, n int)
	// SwiGLUBackward: g' and u' are set, not added to; dg may be dm where it is a Buffer.
	SwiGLUBackward(dg, du, dm, g, u Buffer, n int)

	// CrossEntropy is the softmax cross-entropy of the rows of x against targets: nll[n]
	// = -log softmax(W x[n])[targets[n]], and with scale not nil x' = Wᵀ z', z' =
	// scale[n] (softmax - onehot), is set; W' += z' xᵀ where dw is not nil. Only a
	// few rows of logits exist at a time. It waits for the result.
	// x, dx [n, D], w [V, D], n = len(targets)
	CrossEntropy(nll []float64, dx, dw, x Buffer, w Weight, targets []int, scale []float32)
	// Scatter: y[rows[i]] = x[i].
	Scatter(y, x Buffer, rows []int)
	// EmbedBackward: table'[tokens[n]] += x'[n], in the order of n.
	EmbedBackward(dtable, dx Buffer, tokens []int)

	// SumSquares is the sum of the squares of all elements of the buffers; it waits for it.
	SumSquares(bs ...Buffer) float64
	// AdamW takes a step of decoupled AdamW on p, with gradient g and moments m
	// and v, all of one shape.
	AdamW(p, g, m, v Buffer, s AdamW)
}

// Adapter is a low-rank addition to a matrix [out, in], and its gradients.
type Adapter struct {
	A, B   Buffer  // [rank, in], [out, rank]
	DA, DB Buffer  // the same shapes
	Scale  float32 // s = alpha / rank
	Drop   Dropout
}

// Dropout zeroes each element of the adapter's input with probability P and
// scales the others by 1/(1-P). Row r of a span, column c: the span's key, element
// r*in + c of its stream; so the mask depends neither on how sequences are put
// together nor on the order of computing.
type Dropout struct {
	Probability float64
	Keys        []uint64 // one per span, see random.Key
	Spans       []Span
}

// AdamW holds the numbers of one step: p -= Rate*Decay*p; m = Beta1 m + (1-Beta1) g;
// v = Beta2 v + (1-Beta2) g^2; p -= Rate/(1-Beta1^Step) m / (sqrt(v/(1-Beta2^Step)) + Eps),
// with g = Clip * gradient.
type AdamW struct {
	LearningRate, Beta1, Beta2, Eps, WeightDecay float64
	Clip                                         float64 // factor on the gradient
	Step                                         int     // from 1
}

// AsTrainer returns the device as a Trainer, or an error if it cannot train.
func AsTrainer(dev Device) (Trainer, error) {
	t, ok := dev.(Trainer)
	if !ok {
		return nil, fmt.Errorf("device %s: cannot train", dev.Capabilities().Name)
	}
	return t, nil
}
