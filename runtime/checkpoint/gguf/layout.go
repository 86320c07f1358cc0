package gguf

import (
	"fmt"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// Types are the element types that Export writes, by their names on a command line.
func Types() map[string]Type {
	return map[string]Type{"f32": F32, "f16": F16, "bf16": BF16, "q8_0": Q8_0}
}

// UsualPadding is the number that widths are padded to a multiple of unless another is asked for:
// the block of the type, so that every matrix of the MLP can have it.
func UsualPadding(t Type) int { return t.BlockSize() }

// layout says what a file of a model holds: each layer as llama.cpp can load it, and
// each tensor with its type.
type layout struct {
	config *config.Config
	shapes []config.LayerShape // with padding
	arch   string              // llama where all shapes are equal, else deci
	kind   Type                // of the matrices
	pad    int
	plan   []matrix // every tensor of the model
	mixed  []string // matrices that stay F16, because their rows are no whole blocks
}

// newLayout pads the layers. llama.cpp reads the shapes of the layers one by one only
// in the architecture deci, and there
//   - layer 0 must have a head: it is where the size of a head is taken from;
//   - a layer with heads and without neurons loses the output of its attention.
//
// One zero head, or zero neurons, cure both and change no result: the rows of W_up that
// are added are zero, and so are the columns of W_down and W_o.
func newLayout(c *config.Config, t Type, pad int) *layout {
	l := &layout{config: c, arch: "llama", kind: t, pad: pad, shapes: slices.Clone(c.Layers)}
	for i := range l.shapes {
		s := &l.shapes[i]
		s.Intermediate = max(int(padded(uint64(s.Intermediate), uint64(pad))), pad)
		if i == 0 && s.Heads == 0 {
			s.Heads, s.KVHeads = 1, 1
		}
		if *s != l.shapes[0] {
			l.arch = "deci"
		}
	}
	l.list()
	return l
}

// typeOf is the type of a tensor: norms are F32 in every file of llama.cpp, and rows
// that are no whole blocks are F16.
func (l *layout) typeOf(shape []int) Type {
	switch row := shape[len(shape)-1]; {
	case len(shape) == 1:
		return F32
	case row%l.kind.BlockSize() != 0:
		return F16
	}
	return l.kind
}

// list lists the tensors in llama.cpp's usual order, which is Hugging Face's.
func (l *layout) list() {
	stored := map[string][]int{}
	for _, info := range checkpoint.ExpectedTensors(l.config) {
		stored[info.Name] = info.Shape
	}
	full := *l.config
	full.Layers = l.shapes
	for _, info := range checkpoint.ExpectedTensors(&full) {
		m := matrix{name: nameInFile(info.Name), kind: l.typeOf(info.Shape), shape: info.Shape}
		if len(m.shape) == 1 {
			m.fill = 1 // of a norm that was added
		}
		if s, ok := stored[info.Name]; ok {
			m.from, m.stored = info.Name, s
		}
		if isRotated(info.Name) {
			m.headDim = l.config.HeadDim
		}
		if len(m.shape) > 1 && m.kind != l.kind {
			l.mixed = append(l.mixed, m.name)
		}
		l.plan = append(l.plan, m)
	}
}

// metadata describes the layers: numbers where all are alike, arrays else.
func (l *layout) metadata() []pair {
	c := l.config
	key := func(k string, v any) pair { return pair{l.arch + "." + k, v} }
	out := []pair{
		key("vocab_size", uint32(c.VocabSize)), key("context_length", uint32(c.MaxPositions)), key("embedding_length", uint32(c.HiddenSize)),
		key("block_count", uint32(len(c.Layers))),
	}
	for _, k := range []struct {
		name string
		of   func(config.LayerShape) int
	}{
		{"feed_forward_length", func(s config.LayerShape) int { return s.Intermediate }},
		{"attention.head_count", func(s config.LayerShape) int { return s.Heads }},
		{"attention.head_count_kv", func(s config.LayerShape) int { return s.KVHeads }},
	} {
		if l.arch == "llama" {
			out = append(out, key(k.name, uint32(k.of(l.shapes[0]))))
			continue
		}
		out = append(out, key(k.name, sizes(l.shapes, k.of)))
	}
	out = append(out, key("attention.key_length", uint32(c.HeadDim)), key("attention.value_length", uint32(c.HeadDim)),
		key("attention.layer_norm_rms_epsilon", float32(c.NormEps)), key("rope.dimension_count", uint32(c.HeadDim)), key("rope.freq_base", float32(c.RopeTheta)))
	if r := c.RopeScaling; r != nil && r.Type == "linear" {
		out = append(out, key("rope.scaling.type", "linear"), key("rope.scaling.factor", float32(r.Factor)))
	}
	return append(out, l.ownMetadata()...)
}

func sizes(shapes []config.LayerShape, of func(config.LayerShape) int) []int32 {
	out := make([]int32, len(shapes))
	for i, s := range shapes {
		out[i] = int32(of(s))
	}
	return out
}

// Keys of mop's own, which other programs ignore.
const (
	ownWidths  = "mop.feed_forward_length"  // array: neurons of each layer before padding
	ownHeads   = "mop.attention.head_count" // array: heads of each layer before padding
	ownScaling = "mop.rope.llama3."         // the parameters that rope_freqs.weight was computed from
)

// ownMetadata says what an import needs to undo the padding, and to know the
// parameters of LLaMA-3's RoPE scaling.
func (l *layout) ownMetadata() []pair {
	var out []pair
	widths := func(s config.LayerShape) int { return s.Intermediate }
	heads := func(s config.LayerShape) int { return s.Heads }
	if before := sizes(l.config.Layers, widths); !slices.Equal(before, sizes(l.shapes, widths)) {
		out = append(out, pair{ownWidths, before})
	}
	if before := sizes(l.config.Layers, heads); !slices.Equal(before, sizes(l.shapes, heads)) {
		out = append(out, pair{ownHeads, before})
	}
	if r := l.config.RopeScaling; r != nil && r.Type == "llama3" {
		out = append(out, pair{ownScaling + "factor", float32(r.Factor)}, pair{ownScaling + "low_freq_factor", float32(r.LowFreqFactor)},
			pair{ownScaling + "high_freq_factor", float32(r.HighFreqFactor)}, pair{ownScaling + "original_context_length", uint32(r.OriginalPositions)})
	}
	return out
}

// ropeFactors are the numbers by which LLaMA-3's scaling divides the frequencies,
// which llama.cpp reads from a tensor; nil where the model has none.
func ropeFactors(c *config.Config) []float32 {
	if c.RopeScaling == nil || c.RopeScaling.Type != "llama3" {
		return nil
	}
	bare := *c
	bare.RopeScaling = nil
	out := bare.InvFreq()
	for i, f := range c.InvFreq() {
		out[i] /= f
	}
	return out
}

// added counts the parameters that the padding adds, and the neurons among them.
func (l *layout) added() (params int64, neurons, heads int) {
	for i, s := range l.shapes {
		before := l.config.Layers[i]
		params += s.Params(l.config.HiddenSize) - before.Params(l.config.HiddenSize)
		neurons += s.Intermediate - before.Intermediate
		heads += s.Heads - before.Heads
	}
	return params, neurons, heads
}

// check refuses what the format or llama.cpp cannot hold.
func (l *layout) check() error {
	for i, s := range l.shapes {
		if s.Intermediate > maxSize {
			return fmt.Errorf("layer %d: %d neurons: want at most %d", i, s.Intermediate, maxSize)
		}
	}
	return nil
}
