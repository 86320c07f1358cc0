// Package config turns a checkpoint's config.json into plain data: one LayerShape per
// layer, and the scalars that the forward pass needs. No code reads a global head count
// or intermediate size.
package config

import "slices"

// LayerShape is the shape of one decoder layer. Every field may differ from layer to
// layer except HeadDim, which RoPE and the checkpoint format fix for all layers.
type LayerShape struct {
	Heads        int `json:"heads"`    // H, query heads; 0 = the attention block is skipped
	KVHeads      int `json:"kv_heads"` // K, key/value heads; divides H, 0 exactly where H is 0
	HeadDim      int `json:"head_dim"` // Dh
	Intermediate int `json:"mlp"`      // I, neurons; 0 = the MLP block is skipped
}

// Config describes a LLaMA-family model. Sizes are in elements.
type Config struct {
	VocabSize    int          // V
	HiddenSize   int          // D
	HeadDim      int          // Dh
	Layers       []LayerShape // L entries
	RopeTheta    float64
	RopeScaling  *RopeScaling // nil = none
	NormEps      float64      // RMSNorm's epsilon
	MaxPositions int          // context length, in tokens
	Tied         bool         // the LM head is the embedding table
	BOS          int          // begin-of-sequence id, -1 = none
	EOS          []int        // end-of-sequence ids
	DType        string       // "float32", "float16" or "bfloat16": the type in which weights are written
	// HFType is the model_type that is written where all layers agree: TypeLlama,
	// TypeMistral (without a sliding window, the same network), or "": llama where every
	// engine loads it, else mistral. TypeNemotronNAS is written in any case. See
	// WrittenType.
	HFType string

	// Extra holds the keys of config.json that mop does not use; they are written back
	// unchanged. Numbers that were read are json.Number: see ExtraNumber.
	Extra map[string]any

	// Multimodal holds the keys of a LLaVA's config.json that do not describe its
	// language model; nil = the model is not part of another.
	Multimodal map[string]any
}

// Clone copies the config and its layers.
func (c *Config) Clone() *Config {
	d := *c
	d.Layers = slices.Clone(c.Layers)
	return &d
}

// RopeScaling adapts the rotary frequencies to longer contexts. Type "dynamic" changes
// them only beyond MaxPositions, where no model runs here.
type RopeScaling struct {
	Type   string  // "linear", "dynamic" or "llama3"
	Factor float64 // >= 1

	// llama3 only: wavelengths below OriginalPositions/HighFreqFactor do not change,
	// those above OriginalPositions/LowFreqFactor grow by Factor, and those between
	// are interpolated.
	LowFreqFactor     float64
	HighFreqFactor    float64
	OriginalPositions int
}

// AttentionParams counts the query, key, value and output projections of a layer;
// hidden is D.
func (s LayerShape) AttentionParams(hidden int) int64 {
	return int64(2*s.Heads+2*s.KVHeads) * int64(s.HeadDim) * int64(hidden)
}

// MLPParams counts the gate, up and down projections of a layer; hidden is D.
func (s LayerShape) MLPParams(hidden int) int64 {
	return 3 * int64(s.Intermediate) * int64(hidden)
}

// Params counts a whole layer: attention, MLP and the norm in front of each block that
// exists (a skipped block has no norm).
func (s LayerShape) Params(hidden int) int64 {
	n := s.AttentionParams(hidden) + s.MLPParams(hidden)
	if s.Heads > 0 {
		n += int64(hidden)
	}
	if s.Intermediate > 0 {
		n += int64(hidden)
	}
	return n
}

// Params counts all parameters, with embeddings, final norm and LM head. A tied LM head
// is not counted.
func (c *Config) Params() int64 {
	n := int64(c.VocabSize)*int64(c.HiddenSize) + int64(c.HiddenSize)
	if !c.Tied {
		n += int64(c.VocabSize) * int64(c.HiddenSize)
	}
	for _, s := range c.Layers {
		n += s.Params(c.HiddenSize)
	}
	return n
}

// LastAttention is the last layer with attention, 0 where there is none. The layers
// after it process every position independently.
func (c *Config) LastAttention() int {
	for l := len(c.Layers) - 1; l > 0; l-- {
		if c.Layers[l].Heads > 0 {
			return l
		}
	}
	return 0
}

// Uniform reports whether all layers have the same shape and no block is skipped.
// LlamaForCausalLM can express only such models.
func (c *Config) Uniform() bool {
	for _, s := range c.Layers {
		if s != c.Layers[0] || s.Heads == 0 || s.Intermediate == 0 {
			return false
		}
	}
	return len(c.Layers) > 0
}
