// Package config turns a checkpoint's config.json into plain data: one
// LayerShape per layer and the handful of scalars that the forward pass needs.
// Nothing downstream reads a global head count or width.
package config

import "slices"

// LayerShape is the size of one decoder layer. Every field may differ from
// layer to layer except HeadDim, which RoPE and the checkpoint fix for all.
type LayerShape struct {
	Heads        int `json:"heads"`    // H, query heads; 0 = the attention block is skipped
	KVHeads      int `json:"kv_heads"` // K, key/value heads; divides H, 0 exactly where H is 0
	HeadDim      int `json:"head_dim"` // Dh
	Intermediate int `json:"mlp"`      // I, neurons; 0 = the MLP block is skipped
}

// Config is a LLaMA-family model. Widths are in elements.
type Config struct {
	VocabSize    int          // V
	HiddenSize   int          // D, model width
	HeadDim      int          // Dh
	Layers       []LayerShape // L entries
	RopeTheta    float64
	RopeScaling  *RopeScaling // nil = none
	NormEps      float64      // RMSNorm's epsilon
	MaxPositions int          // context length, in tokens
	Tied         bool         // the output head is the embedding table
	BOS          int          // begin-of-sequence id, -1 = none
	EOS          []int        // end-of-sequence ids
	DType        string       // "float32", "float16" or "bfloat16": the type that the weights are written in
	Mistral      bool         // where layers agree, call the model a Mistral without a sliding window: the same network

	// Extra holds the keys of config.json that mop neither reads nor writes
	// itself; they are carried along unchanged. Numbers that were read are
	// json.Number: see ExtraNumber.
	Extra map[string]any

	// Multimodal holds the keys of a LLaVA's config.json that are not about its
	// language model; nil = the model is no part of another.
	Multimodal map[string]any
}

// Clone copies the config; the layers are its own.
func (c *Config) Clone() *Config {
	d := *c
	d.Layers = slices.Clone(c.Layers)
	return &d
}

// RopeScaling stretches the rotary frequencies for longer contexts.
type RopeScaling struct {
	Type   string  // "linear" or "llama3"
	Factor float64 // stretch, >= 1

	// llama3 only: wavelengths below OriginalPositions/HighFreqFactor stay,
	// above OriginalPositions/LowFreqFactor are stretched by Factor, and a
	// ramp in the frequency joins the two.
	LowFreqFactor     float64
	HighFreqFactor    float64
	OriginalPositions int
}

// AttentionParams counts q, k, v and o of a layer of model width dim.
func (s LayerShape) AttentionParams(dim int) int64 {
	return int64(2*s.Heads+2*s.KVHeads) * int64(s.HeadDim) * int64(dim)
}

// MLPParams counts gate, up and down of a layer of model width dim.
func (s LayerShape) MLPParams(dim int) int64 { return 3 * int64(s.Intermediate) * int64(dim) }

// Params counts a whole layer: attention, MLP and the norm before each block
// that exists (a skipped block has no norm).
func (s LayerShape) Params(dim int) int64 {
	n := s.AttentionParams(dim) + s.MLPParams(dim)
	if s.Heads > 0 {
		n += int64(dim)
	}
	if s.Intermediate > 0 {
		n += int64(dim)
	}
	return n
}

// Params counts all parameters, embeddings, final norm and head included; a
// tied head counts once.
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

// LastAttention is the last layer with attention, 0 where there is none: those after it
// take every position by itself.
func (c *Config) LastAttention() int {
	for l := len(c.Layers) - 1; l > 0; l-- {
		if c.Layers[l].Heads > 0 {
			return l
		}
	}
	return 0
}

// Uniform reports whether all layers have the same shape, and neither block is
// skipped: the models that plain LlamaForCausalLM can describe.
func (c *Config) Uniform() bool {
	for _, s := range c.Layers {
		if s != c.Layers[0] || s.Heads == 0 || s.Intermediate == 0 {
			return false
		}
	}
	return len(c.Layers) > 0
}
