package config

import (
	"encoding/json"
	"io"
	"maps"
)

// Write writes config.json. Uniform layers give a plain LlamaForCausalLM with an
// explicit head_dim, which transformers loads unchanged; others give mop's own
// architecture with per_layer_config.
func Write(w io.Writer, c *Config) error {
	data, err := Marshal(c)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// Marshal is the text of config.json, keys sorted.
func Marshal(c *Config) ([]byte, error) {
	out := maps.Clone(c.Extra)
	if out == nil {
		out = map[string]any{}
	}
	shape, over := c.perLayer()
	out["architectures"], out["model_type"] = []string{"LlamaForCausalLM"}, "llama"
	if !c.Uniform() {
		out["architectures"], out["model_type"] = []string{hetArchitecture}, hetType
		out["per_layer_config"] = over
	}
	out["vocab_size"] = c.Vocab
	out["hidden_size"] = c.Dim
	out["head_dim"] = c.HeadDim
	out["num_hidden_layers"] = len(c.Layers)
	out["num_attention_heads"] = shape.Heads
	out["num_key_value_heads"] = shape.KVHeads
	out["intermediate_size"] = shape.MLP
	out["hidden_act"] = "silu"
	out["attention_bias"], out["mlp_bias"] = false, false
	out["rms_norm_eps"] = c.NormEps
	out["max_position_embeddings"] = c.MaxPositions
	out["tie_word_embeddings"] = c.Tied
	out["torch_dtype"] = c.DType
	out["rope_theta"] = c.RopeTheta
	out["rope_scaling"] = nil
	if r := c.RopeScaling; r != nil {
		m := map[string]any{"rope_type": r.Type, "factor": r.Factor}
		if r.Type == "llama3" {
			m["low_freq_factor"], m["high_freq_factor"] = r.LowFreqFactor, r.HighFreqFactor
			m["original_max_position_embeddings"] = r.OriginalPositions
		}
		out["rope_scaling"] = m
	}
	if c.BOS >= 0 {
		out["bos_token_id"] = c.BOS
	}
	switch len(c.EOS) {
	case 0:
	case 1:
		out["eos_token_id"] = c.EOS[0]
	default:
		out["eos_token_id"] = c.EOS
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}
