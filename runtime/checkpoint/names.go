package checkpoint

import (
	"fmt"
	"strings"

	"mop/runtime/config"
)

// The names of LLaMA's tensors in transformers.
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

// LayerName is the name of a layer's tensor.
func LayerName(layer int, p Param) string {
	return fmt.Sprintf("model.layers.%d.%s.weight", layer, p)
}

// Projections lists a layer's matrices in stored order. Adapters apply to them.
func Projections() []Param { return []Param{WQ, WK, WV, WO, WGate, WUp, WDown} }

// Short is the name without its block, such as "q_proj".
func (p Param) Short() string { return string(p[strings.LastIndexByte(string(p), '.')+1:]) }

// AdapterName is PEFT's name of one half of a low-rank adapter: "A" [rank, in] or
// "B" [out, rank].
func AdapterName(layer int, p Param, half string) string {
	return fmt.Sprintf("base_model.model.model.layers.%d.%s.lora_%s.weight", layer, p, half)
}

// TensorInfo is a tensor's name and shape.
type TensorInfo struct {
	Name  string
	Shape []int
}

// LayerTensors lists the tensors of one layer in stored order; hidden is D. A skipped
// block has no tensors.
func LayerTensors(layer int, s config.LayerShape, hidden int) []TensorInfo {
	var out []TensorInfo
	add := func(p Param, shape ...int) { out = append(out, TensorInfo{LayerName(layer, p), shape}) }
	if s.Heads > 0 {
		add(AttnNorm, hidden)
		add(WQ, s.Heads*s.HeadDim, hidden)
		add(WK, s.KVHeads*s.HeadDim, hidden)
		add(WV, s.KVHeads*s.HeadDim, hidden)
		add(WO, hidden, s.Heads*s.HeadDim)
	}
	if s.Intermediate > 0 {
		add(MLPNorm, hidden)
		add(WGate, s.Intermediate, hidden)
		add(WUp, s.Intermediate, hidden)
		add(WDown, hidden, s.Intermediate)
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

// Canonical is the name under which ExpectedTensors lists a stored tensor, and
// whether the tensor can belong to the language model at all. In LLaVA checkpoints
// the names of the language model begin with language_model. (transformers up to
// 4.51) or model.language_model. (later). The vision tower and the projector, also
// in LLaVA's own spelling, do not belong to it. A model that was saved without its LM
// head has names without model. in front.
func Canonical(stored string) (name string, language bool) {
	for _, p := range []string{"vision_tower.", "multi_modal_projector.", "mm_projector.", "image_newline"} {
		if strings.HasPrefix(strings.TrimPrefix(stored, "model."), p) {
			return "", false
		}
	}
	if rest, ok := strings.CutPrefix(stored, "model.language_model."); ok {
		return "model." + rest, true
	}
	name = strings.TrimPrefix(stored, "language_model.")
	for _, p := range []string{"embed_tokens.", "layers.", "norm."} {
		if strings.HasPrefix(name, p) {
			return "model." + name, true
		}
	}
	return name, true
}

// ignored reports whether a tensor that is not used may be in the checkpoint. Old
// exports hold rotary frequencies, which follow from the config. Some store the LM
// head of a tied model; transformers ignores it too, whatever its values. A skipped
// block may have kept its norm.
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

// layerOf is the layer that a tensor belongs to.
func layerOf(name string) (int, bool) {
	var l int
	_, err := fmt.Sscanf(name, "model.layers.%d.", &l)
	return l, err == nil && l >= 0
}

// withLayer puts the layer in front of a tensor's name, for errors.
func withLayer(name string) string {
	if l, ok := layerOf(name); ok {
		return fmt.Sprintf("layer %d: %s", l, name)
	}
	return name
}
