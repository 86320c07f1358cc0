package device

// Activation is an element-wise function behind a biased linear operation.
type Activation uint8

const (
	Identity  Activation = iota
	QuickGELU            // z / (1 + exp(-1.702 z)), CLIP's
	GELU                 // z/2 (1 + erf(z / sqrt 2))
	GELUTanh             // z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))
)

func (a Activation) String() string {
	return [...]string{"identity", "quick_gelu", "gelu", "gelu_tanh"}[a]
}

// Vision is a Device that also performs the operations of a vision tower and its
// projector, on float32 buffers or, where x is not what is added to, on Activations. All
// of them are over the first n rows; a row's result does not depend on the number of
// threads, and that of all operations but BidirectionalAttention not on the other rows.
type Vision interface {
	Device

	// LayerNorm: y[n] = (x[n] - mean(x[n])) / sqrt(var(x[n]) + eps) * w + b, the
	// variance being the mean of the squared differences. x is float32.
	//                                         y, x [n, D], w, b [D]
	LayerNorm(y, x Buffer, n int, w, b Weight, eps float64)
	// LinearBias: y[n] = f(W x[n] + b).       y [n, out], x [n, in], b [out]
	LinearBias(y, x Buffer, n int, w, b Weight, f Activation)
	// AddLinearBias: x[n] += W a[n] + b. x is float32.
	//                                         x [n, out], a [n, in], b [out]
	AddLinearBias(x, a Buffer, n int, w, b Weight)
	// BidirectionalAttention: a[i,h] = sum_t softmax_t(q[i,h] . k[t,h] / sqrt(Dh)) v[t,h]
	// over all n rows t. A row of qkv is q, k and v, in this order, of all heads. Both
	// are Activations.                        a [n, H*Dh], qkv [n, 3*H*Dh]
	BidirectionalAttention(a, qkv Buffer, n, heads, dh int)
}
