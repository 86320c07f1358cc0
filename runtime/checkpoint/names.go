package checkpoint

import (
	"fmt"
	"strings"

	"mop/runtime/config"
)

// The Hugging Face names of LLaMA's tensors; no other file spells them.
const (
	EmbedName = "model.embed_tokens.weight" // [V, D]
	NormName  = "model.norm.weight"         // [D]
	HeadName  = "lm_head.weight"            // [V, D], absent where tied
)

// Param names one tensor of a layer.
type Param string

const (
	AttnNorm Param = "input_layernorm"          // [D]
	WQ       Param = "self_attn.q_proj"         // [H*Dh, D]
	WK       Param = "self_attn.k_proj"         // [K*Dh, D]
	WV       Param = "self_attn.v_proj"         // [K*Dh, D]
	WO       Param = "self_attn.o_proj"         // [D, H*Dh]
	MLPNorm  Param = "post_attention_layernorm" // [D]
	WGate    Param = "mlp.gate_proj"            // [I, D]
	WUp      Param = "mlp.up_proj"              // [I, D]
	WDown    Param = "mlp.down_proj"            // [D, I]
)

// LayerName is the stored name of a layer's part.
func LayerName(layer int, p Param) string {
	return fmt.Sprintf("model.layers.%d.%s.weight", layer, p)
}

// Projections lists the layer's matrices, in stored order: what adapters go on.
func Projections() []Param { return []Param{WQ, WK, WV, WO, WGate, WUp, WDown} }

// Short is the part's name without its block: q_proj.
func (p Param) Short() string { return string(p[strings.LastIndexByte(string(p), '.')+1:]) }

// AdapterName is the name that PEFT stores a low-rank adapter's half under, "A"
// [rank, in] or "B" [out, rank].
func AdapterName(layer int, p Param, half string) string {
	return fmt.Sprintf("base_model.model.model.layers.%d.%s.lora_%s.weight", layer, p, half)
}

// TensorInfo is a tensor's name and shape.
type TensorInfo struct {
	Name  string
	Shape []int
}

// LayerTensors lists the tensors of one layer of width dim in stored order; a
// skipped block has none.
func LayerTensors(layer int, s config.LayerShape, dim int) []TensorInfo {
	var out []TensorInfo
	add := func(p Param, shape ...int) { out = append(out, TensorInfo{LayerName(layer, p), shape}) }
	if s.Heads > 0 {
		add(AttnNorm, dim)
		add(WQ, s.Heads*s.HeadDim, dim)
		add(WK, s.KVHeads*s.HeadDim, dim)
		add(WV, s.KVHeads*s.HeadDim, dim)
		add(WO, dim, s.Heads*s.HeadDim)
	}
	if s.Intermediate > 0 {
		add(MLPNorm, dim)
		add(WGate, s.Intermediate, dim)
		add(WUp, s.Intermediate, dim)
		add(WDown, dim, s.Intermediate)
	}
	return out
}

// ExpectedTensors lists every tensor that a model of this config holds.
func ExpectedTensors(c *config.Config) []TensorInfo {
	out := []TensorInfo{{EmbedName, []int{c.VocabSize, c.HiddenSize}}}
	for l, s := range c.Layers {
		out = append(out, LayerTensors(l, s, c.HiddenSize)...)
	}
	out = append(out, TensorInfo{NormName, []int{c.HiddenSize}})
	if !c.Tied {
		out = append(out, TensorInfo{HeadName, []int{c.VocabSize, c.HiddenSize}})
	}
	return out
}

// Canonical is the name under which Expected lists a stored tensor, and whether
// it can belong to the language model at all. In LLaVA's directories the
// language model stands under language_model. (transformers up to 4.51) or
// model.language_model. (later); the vision tower and the projector beside it,
// also in LLaVA's own spelling, are not part of it.
func Canonical(stored string) (name string, language bool) {
	for _, p := range []string{"vision_tower.", "multi_modal_projector.", "mm_projector.", "image_newline"} {
		if strings.HasPrefix(strings.TrimPrefix(stored, "model."), p) {
			return "", false
		}
	}
	if rest, ok := strings.CutPrefix(stored, "model.language_model."); ok {
		return "model." + rest, true
	}
	return strings.TrimPrefix(stored, "language_model."), true
}

// ignored reports whether a tensor may stand beside the expected ones; it is not
// used. Old exports hold rotary frequencies, which follow from the config; some
// store the head of a tied model again, which transformers ties over as well,
// whatever its values; a skipped block may have kept its norm.
func ignored(c *config.Config, name string) bool {
	if name == HeadName && c.Tied || strings.HasSuffix(name, "rotary_emb.inv_freq") {
		return true
	}
	l, ok := layerOf(name)
	if !ok || l >= len(c.Layers) {
		return false
	}
	s := c.Layers[l]
	return s.Heads == 0 && name == LayerName(l, AttnNorm) || s.Intermediate == 0 && name == LayerName(l, MLPNorm)
}

// layerOf is the layer that a name speaks of.
func layerOf(name string) (int, bool) {
	var l int
	_, err := fmt.Sscanf(name, "model.layers.%d.", &l)
	return l, err == nil && l >= 0
}

// place puts the layer before a tensor's name, for errors.
func place(name string) string {
	if l, ok := layerOf(name); ok {
		return fmt.Sprintf("layer %d: %s", l, name)
	}
	return name
}
