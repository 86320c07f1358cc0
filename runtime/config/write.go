package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"strconv"
	"strings"
)

// Marshal is the text of a config.json, with sorted keys, that Parse reads back to an
// equal config. The language model of a LLaVA is written with its wrapper. Uniform
// layers give a LlamaForCausalLM or MistralForCausalLM with an explicit head_dim, others
// mop's own architecture with per_layer_config, and auto_map names its remote code. The
// rotary base and its scaling are spelled as in transformers 4 and as in 5, because some
// readers know only one of the two and silently take 10000 for a base they do not find.
//
// transformers 5 refuses a LlamaConfig where hidden_size is not a multiple of
// num_attention_heads, although head_dim is explicit
// (https://github.com/huggingface/transformers/issues/46082). A MistralForCausalLM with
// sliding_window null is the same network and loads everywhere; it is the default for
// such models: see WrittenType and testdata/transformers_check.json.
func Marshal(c *Config) ([]byte, error) {
	out, err := c.document()
	if err != nil {
		return nil, err
	}
	if c.Multimodal != nil {
		different := c.WrittenType() == heterogeneousType
		out = embed(out, c.Multimodal)
		if different && c.Nested() {
			out["auto_map"] = llavaAutoMap()
		}
	}
	return encode(out)
}

// document holds the keys of Marshal's config.json.
func (c *Config) document() (map[string]any, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	out := maps.Clone(c.Extra)
	if out == nil {
		out = map[string]any{}
	}
	for _, key := range []string{"auto_map", "block_configs", "dtype", "layer_types", "per_layer_config", "rope_parameters", "transformers_version"} {
		delete(out, key) // possible only in configs built in code
	}
	shape, over := c.perLayer()
	out["architectures"], out["model_type"] = []string{"LlamaForCausalLM"}, "llama"
	switch c.WrittenType() {
	case TypeMistral:
		out["architectures"], out["model_type"] = []string{mistralArchitecture}, TypeMistral
		out["sliding_window"] = nil // an absent key stands for Mistral's 4096
	case TypeNemotronNAS:
		heads, blocks, err := c.nemotronBlocks()
		if err != nil {
			return nil, err
		}
		shape.Heads, shape.KVHeads = heads, heads
		out["architectures"], out["model_type"] = []string{nemotronArchitecture}, TypeNemotronNAS
		out["block_configs"] = blocks
		out["auto_map"] = map[string]string{"AutoConfig": strings.TrimSuffix(nemotronCodeFile, ".py") + ".NemotronNASConfig"}
	case heterogeneousType:
		out["architectures"], out["model_type"] = []string{heterogeneousArchitecture}, heterogeneousType
		out["per_layer_config"] = over
		if c.Multimodal == nil { // transformers reads no auto_map of a part
			out["auto_map"] = autoMap()
		}
	}
	out["vocab_size"] = c.VocabSize
	out["hidden_size"] = c.HiddenSize
	out["head_dim"] = c.HeadDim
	out["num_hidden_layers"] = len(c.Layers)
	out["num_attention_heads"] = shape.Heads
	out["num_key_value_heads"] = shape.KVHeads
	out["intermediate_size"] = shape.Intermediate
	out["hidden_act"] = "silu"
	out["attention_bias"], out["mlp_bias"] = false, false
	out["rms_norm_eps"] = float(c.NormEps)
	out["max_position_embeddings"] = c.MaxPositions
	out["tie_word_embeddings"] = c.Tied
	out["torch_dtype"] = c.DType
	out["rope_theta"] = float(c.RopeTheta)
	out["rope_scaling"] = nil
	parameters := map[string]any{"rope_type": "default"}
	if r := c.RopeScaling; r != nil {
		m := map[string]any{"rope_type": r.Type, "factor": float(r.Factor)}
		if r.Type == "llama3" {
			m["low_freq_factor"], m["high_freq_factor"] = float(r.LowFreqFactor), float(r.HighFreqFactor)
			m["original_max_position_embeddings"] = r.OriginalPositions
		}
		out["rope_scaling"] = m
		parameters = maps.Clone(m)
	}
	parameters["rope_theta"] = float(c.RopeTheta)
	out["rope_parameters"] = parameters
	// null, because an absent id stands for LLaMA's.
	out["bos_token_id"], out["eos_token_id"] = nil, nil
	if c.BOS >= 0 {
		out["bos_token_id"] = c.BOS
	}
	if len(c.EOS) == 1 {
		out["eos_token_id"] = c.EOS[0]
	} else if len(c.EOS) > 1 {
		out["eos_token_id"] = c.EOS
	}
	return out, nil
}

func encode(out map[string]any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// float is a number that Python reads as a float: with a point or an exponent.
func float(x float64) json.Number {
	s := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.Number(s)
}
