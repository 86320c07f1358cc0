// Package llama2c reads the weight files of llama2.c (float32, versions 0 and
// 1) as a checkpoint with Hugging Face's names and layout.
package llama2c

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// magic is "ak42", the first word of version 1.
const magic = 0x616b3432

// header is what both versions say.
type header struct {
	dim, mlp, layers, heads, kv, vocab, positions int
	tied                                          bool
	v1                                            bool
	size                                          int // of the header, in bytes
}

// Source is an imported file; all tensors are in memory.
type Source struct {
	config  *config.Config
	tensors map[string]checkpoint.Tensor
}

func (s *Source) Config() *config.Config { return s.config }
func (s *Source) Close() error           { return nil }

// Tensor finds a tensor by its Hugging Face name.
func (s *Source) Tensor(name string) (checkpoint.Tensor, error) {
	t, ok := s.tensors[name]
	if !ok {
		return t, fmt.Errorf("no tensor %s", name)
	}
	return t, nil
}

// Open reads a file of either version.
func Open(path string) (*Source, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Parse reads the bytes of a file of either version. The size must be exactly
// what the header asks for.
func Parse(data []byte) (*Source, error) {
	h, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	dh := h.dim / h.heads
	c := &config.Config{Vocab: h.vocab, Dim: h.dim, HeadDim: dh,
		Layers:    slices.Repeat([]config.LayerShape{{Heads: h.heads, KVHeads: h.kv, HeadDim: dh, MLP: h.mlp}}, h.layers),
		RopeTheta: 10000, NormEps: 1e-5, MaxPositions: h.positions, Tied: h.tied, BOS: 1, EOS: []int{2}, DType: "float32"}
	if err := c.Check(); err != nil {
		return nil, err
	}
	s := &Source{c, map[string]checkpoint.Tensor{}}
	rest := data[h.size:]
	shapes := map[string][]int{}
	for _, info := range checkpoint.Expected(c) {
		shapes[info.Name] = info.Shape
	}
	var short error
	take := func(name string) {
		n := 4
		for _, d := range shapes[name] {
			n *= d
		}
		if n > len(rest) {
			if short == nil {
				short = fmt.Errorf("%s: want %d bytes, %d are left", name, n, len(rest))
			}
			return
		}
		s.tensors[name] = checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: shapes[name], Data: rest[:n:n]}
		rest = rest[n:]
	}
	all := func(p checkpoint.Part) {
		for l := range h.layers {
			take(checkpoint.LayerName(l, p))
		}
	}
	matrices := func(ffnNorm bool) {
		for _, p := range []checkpoint.Part{checkpoint.WQ, checkpoint.WK, checkpoint.WV, checkpoint.WO} {
			all(p)
		}
		if ffnNorm {
			all(checkpoint.MLPNorm)
		}
		for _, p := range []checkpoint.Part{checkpoint.WGate, checkpoint.WDown, checkpoint.WUp} {
			all(p)
		}
	}
	if h.v1 {
		all(checkpoint.AttnNorm)
		all(checkpoint.MLPNorm)
		take(checkpoint.NormName)
		take(checkpoint.EmbedName)
		matrices(false)
	} else {
		take(checkpoint.EmbedName)
		all(checkpoint.AttnNorm)
		matrices(true)
		take(checkpoint.NormName)
		if rotary := 4 * h.positions * dh; rotary <= len(rest) { // tables of cosines and sines, formed anew here
			rest = rest[rotary:]
		} else if short == nil {
			short = fmt.Errorf("rotary tables: want %d bytes, %d are left", rotary, len(rest))
		}
	}
	if !h.tied {
		take(checkpoint.HeadName)
	}
	if short != nil {
		return nil, fmt.Errorf("truncated: %w", short)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes more than the header asks for", len(rest))
	}
	for l := range h.layers {
		for _, p := range []checkpoint.Part{checkpoint.WQ, checkpoint.WK} {
			unpermute(s.tensors, checkpoint.LayerName(l, p), dh)
		}
	}
	return s, nil
}

// parseHeader reads and bounds the sizes.
func parseHeader(data []byte) (header, error) {
	var h header
	word := func(i int) int { return int(int32(binary.LittleEndian.Uint32(data[i:]))) }
	if len(data) < 28 {
		return h, fmt.Errorf("want a header of 28 bytes, got %d", len(data))
	}
	at := 0
	if uint32(word(0)) == magic {
		if len(data) < 256 {
			return h, fmt.Errorf("want a header of 256 bytes, got %d", len(data))
		}
		if v := word(4); v != 1 {
			return h, fmt.Errorf("version %d: want 0 or 1 (float32)", v)
		}
		h.v1, at = true, 8
	}
	h.dim, h.mlp, h.layers, h.heads = word(at), word(at+4), word(at+8), word(at+12)
	h.kv, h.vocab, h.positions = word(at+16), word(at+20), word(at+24)
	if h.v1 {
		h.tied, h.size = data[at+28] != 0, 256
	} else {
		h.tied, h.size = h.vocab > 0, 28
		if h.vocab < 0 {
			h.vocab = -h.vocab
		}
	}
	for _, n := range []int{h.dim, h.mlp, h.layers, h.heads, h.kv, h.vocab, h.positions} {
		if n < 1 || n > len(data) {
			return h, fmt.Errorf("header: sizes out of range for a file of %d bytes: dim %d, hidden %d, layers %d, heads %d, kv heads %d, vocabulary %d, positions %d",
				len(data), h.dim, h.mlp, h.layers, h.heads, h.kv, h.vocab, h.positions)
		}
	}
	if h.dim%h.heads != 0 {
		return h, errors.New("header: dim is not a multiple of the heads")
	}
	// Bounds the list of layers before it is made: each has two norms at least.
	if h.layers > len(data)/(8*h.dim) {
		return h, fmt.Errorf("header: %d layers of width %d in a file of %d bytes", h.layers, h.dim, len(data))
	}
	return h, nil
}

// unpermute turns rows from llama2.c's interleaved rotary pairs (2i, 2i+1) to
// Hugging Face's (i, i+Dh/2), head by head.
func unpermute(all map[string]checkpoint.Tensor, name string, dh int) {
	t := all[name]
	row := 4 * t.Shape[1]
	out := make([]byte, len(t.Data))
	for r := range t.Shape[0] {
		head, i := r/dh, r%dh
		from := head*dh + 2*(i%(dh/2)) + i/(dh/2)
		copy(out[r*row:(r+1)*row], t.Data[from*row:(from+1)*row])
	}
	t.Data = out
	all[name] = t
}
