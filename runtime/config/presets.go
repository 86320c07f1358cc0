package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// preset is a published model of uniform layers.
type preset struct {
	name                                   string
	vocab, dim, layers, heads, kv, dh, mlp int
	theta                                  float64
	positions                              int
	bos, eos                               int
	dtype                                  string
	tied                                   bool // the LM head is the embedding
}

func presets() []preset {
	return []preset{
		{"llama-2-7b", 32000, 4096, 32, 32, 32, 128, 11008, 10000, 4096, 1, 2, "float16", false},
		{"llama-2-13b", 32000, 5120, 40, 40, 40, 128, 13824, 10000, 4096, 1, 2, "float16", false},
		{"llama-3-8b", 128256, 4096, 32, 32, 8, 128, 14336, 500000, 8192, 128000, 128001, "bfloat16", false},
		{"tinyllama-1.1b", 32000, 2048, 22, 32, 4, 64, 5632, 10000, 2048, 1, 2, "bfloat16", false},
		{"smollm2-135m", 49152, 576, 30, 9, 3, 64, 1536, 100000, 8192, 0, 0, "bfloat16", true},
		{llavaPreset, 32064, 4096, 32, 32, 32, 128, 11008, 10000, 4096, 1, 2, "float16", false}, // its language model
	}
}

const llavaPreset = "llava-1.5-7b"

// llavaWrapper holds the keys of LLaVA-1.5's config.json that do not describe its language
// model: the tower is CLIP ViT-L/14 at 336 pixels.
func llavaWrapper() map[string]any {
	number := func(n int) json.Number { return json.Number(strconv.Itoa(n)) } // as it is read
	return map[string]any{
		"architectures": []any{"LlavaForConditionalGeneration"}, "model_type": "llava", "image_token_index": number(32000),
		"projector_hidden_act": "gelu", "vision_feature_layer": number(-2), "vision_feature_select_strategy": "default", nested: nil,
		"vision_config": map[string]any{
			"model_type": "clip_vision_model", "hidden_size": number(1024), "intermediate_size": number(4096), "num_hidden_layers": number(24),
			"num_attention_heads": number(16), "image_size": number(336), "patch_size": number(14),
		},
	}
}

// PresetNames lists what Preset knows.
func PresetNames() []string {
	var names []string
	for _, p := range presets() {
		names = append(names, p.name)
	}
	return names
}

// UnknownPresetError is the error of a name that no preset has.
type UnknownPresetError struct{ Name string }

func (e UnknownPresetError) Error() string {
	return fmt.Sprintf("preset %q: want one of %s", e.Name, strings.Join(PresetNames(), ", "))
}

// Preset is the config of a published model, by name.
func Preset(name string) (*Config, error) {
	for _, p := range presets() {
		if p.name != name {
			continue
		}
		c := &Config{
			VocabSize: p.vocab, HiddenSize: p.dim, HeadDim: p.dh,
			Layers:    slices.Repeat([]LayerShape{{Heads: p.heads, KVHeads: p.kv, HeadDim: p.dh, Intermediate: p.mlp}}, p.layers),
			RopeTheta: p.theta, NormEps: 1e-5, MaxPositions: p.positions,
			BOS: p.bos, EOS: []int{p.eos}, Tied: p.tied, DType: p.dtype,
		}
		if p.name == llavaPreset {
			c.Multimodal = llavaWrapper()
		}
		return c, nil
	}
	return nil, UnknownPresetError{name}
}
