package llama2c

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

const (
	magic    = 0x616b3432 // "ak42", the first word of version 1
	v0Header = 28         // bytes: seven int32
	v1Header = 256        // bytes: magic, version, seven int32, the tied flag, zeros
)

// header holds what both versions contain.
type header struct {
	v1                                            bool
	dim, mlp, layers, heads, kv, vocab, positions int
	tied                                          bool
}

// parseHeader reads a file's header and bounds its sizes by the size of the file.
func parseHeader(data []byte) (header, error) {
	var h header
	if len(data) < v0Header {
		return h, fmt.Errorf("want a header of %d bytes, got %d: truncated", v0Header, len(data))
	}
	word := func(at int) int { return int(int32(binary.LittleEndian.Uint32(data[at:]))) }
	at := 0
	if word(0) == magic {
		if len(data) < v1Header {
			return h, fmt.Errorf("want a header of %d bytes, got %d: truncated", v1Header, len(data))
		}
		if v := word(4); v != 1 {
			return h, fmt.Errorf("want version 0 or 1 (float32), got version %d", v)
		}
		h.v1, at = true, 8
	}
	sizes := []*int{&h.dim, &h.mlp, &h.layers, &h.heads, &h.kv, &h.vocab, &h.positions}
	for i, p := range sizes {
		*p = word(at + 4*i)
	}
	if h.v1 {
		flag := data[at+v0Header]
		if flag > 1 {
			return h, fmt.Errorf("header: shared classifier: want 0 or 1, got %d", flag)
		}
		h.tied = flag == 1
	} else if h.tied = h.vocab > 0; !h.tied {
		h.vocab = -h.vocab
	}
	for i, name := range []string{"dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"} {
		if n := *sizes[i]; n < 1 || n > len(data) {
			return h, fmt.Errorf("header: %s: want 1 to %d, the file's bytes, got %d", name, len(data), n)
		}
	}
	if h.dim%h.heads != 0 || h.dim/h.heads%2 != 0 {
		return h, fmt.Errorf("header: want dim to be an even multiple of n_heads, got %d and %d", h.dim, h.heads)
	}
	if h.heads%h.kv != 0 {
		return h, fmt.Errorf("header: want n_kv_heads to divide n_heads, got %d and %d", h.kv, h.heads)
	}
	want, ok := h.bytes()
	if !ok {
		return h, errors.New("header: sizes overflow")
	}
	if want != uint64(len(data)) {
		return h, fmt.Errorf("want %d bytes for dim %d, hidden_dim %d, n_layers %d, n_heads %d, n_kv_heads %d, vocab_size %d, seq_len %d; got %d",
			want, h.dim, h.mlp, h.layers, h.heads, h.kv, h.vocab, h.positions, len(data))
	}
	return h, nil
}

// headDim is Dh.
func (h header) headDim() int { return h.dim / h.heads }

// bytes is the exact size of a file, false where it does not fit in 64 bits. It is
// computed before anything is allocated.
func (h header) bytes() (uint64, bool) {
	start := uint64(v0Header)
	if h.v1 {
		start = v1Header
	}
	n, ok := start, true
	add := func(factors ...int) {
		product := uint64(4)
		for _, f := range factors {
			hi, lo := bits.Mul64(product, uint64(f))
			ok = ok && hi == 0
			product = lo
		}
		sum, carry := bits.Add64(n, product, 0)
		ok = ok && carry == 0
		n = sum
	}
	add(h.vocab, h.dim)
	add(h.layers, 2, h.dim)                   // norms
	add(h.layers, 2, h.dim, h.dim)            // q, o
	add(h.layers, 2, h.kv*h.headDim(), h.dim) // k, v
	add(h.layers, 3, h.mlp, h.dim)            // gate, down, up
	add(h.dim)                                // final norm
	if !h.v1 {
		add(h.positions, h.headDim()) // rotary cosines and sines
	}
	if !h.tied {
		add(h.vocab, h.dim)
	}
	return n, ok
}

// config is the model's config. Values that the file does not contain are those that
// llama2.c hard-codes.
func (h header) config() *config.Config {
	shape := config.LayerShape{Heads: h.heads, KVHeads: h.kv, HeadDim: h.headDim(), Intermediate: h.mlp}
	c := &config.Config{
		VocabSize: h.vocab, HiddenSize: h.dim, HeadDim: h.headDim(),
		RopeTheta: 10000, NormEps: 1e-5, MaxPositions: h.positions, Tied: h.tied,
		BOS: 1, EOS: []int{2}, DType: checkpoint.F32.ConfigName(),
	}
	for range h.layers {
		c.Layers = append(c.Layers, shape)
	}
	return c
}

// order lists the tensors in the order in which they follow the header. An empty name
// stands for version 0's rotary tables.
func (h header) order() []string {
	var out []string
	all := func(parts ...checkpoint.Param) {
		for _, p := range parts {
			for l := range h.layers {
				out = append(out, checkpoint.LayerName(l, p))
			}
		}
	}
	if h.v1 {
		all(checkpoint.AttnNorm, checkpoint.MLPNorm)
		out = append(out, checkpoint.NormName, checkpoint.EmbedName)
	} else {
		out = append(out, checkpoint.EmbedName)
		all(checkpoint.AttnNorm)
	}
	all(checkpoint.WQ, checkpoint.WK, checkpoint.WV, checkpoint.WO)
	if !h.v1 {
		all(checkpoint.MLPNorm)
	}
	all(checkpoint.WGate, checkpoint.WDown, checkpoint.WUp)
	if !h.v1 {
		out = append(out, checkpoint.NormName, "")
	}
	if !h.tied {
		out = append(out, checkpoint.HeadName)
	}
	return out
}
