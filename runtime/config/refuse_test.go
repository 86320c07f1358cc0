package config

import (
	"strings"
	"testing"
)

func TestRefused(t *testing.T) {
	parse(t, "")
	for add, want := range map[string]string{
		`"hidden_act":"gelu"`:                  "hidden_act",
		`"attention_bias":true`:                "attention_bias",
		`"mlp_bias":true`:                      "mlp_bias",
		`"mlp_bias":"no"`:                      "mlp_bias",
		`"qk_norm":true`:                       "qk_norm",
		`"model_type":"mistral"`:               "sliding_window",
		`"model_type":"qwen2"`:                 "qwen2",
		`"model_type":7`:                       "model_type",
		`"architectures":["GemmaForCausalLM"]`: "GemmaForCausalLM",
		`"architectures":"LlamaForCausalLM"`:   "architectures",
		`"quantization_config":{"bits":4}`:     "quantization_config",
		`"quantization":{"bits":4}`:            "quantised weights",
		`"num_experts":8`:                      "experts",
		`"layer_types":["sliding_attention"]`:  "layer_types",
		`"partial_rotary_factor":0.5`:          "partial_rotary_factor",
		`"logits_scaling":16`:                  "logits_scaling",
		`"attn_logit_softcapping":50`:          "attn_logit_softcapping",
		`"num_local_experts":8`:                "num_local_experts",
		`"num_key_value_heads":3`:              "divide",
		`"num_key_value_heads":0`:              "num_key_value_heads",
		`"vocab_size":10`:                      `key "vocab_size" stands twice`,
		`"x":{"y":[{"z":1,"z":2}]}`:            `key "z" stands twice`,
		`"head_dim":3`:                         "even",
		`"head_dim":0`:                         "head_dim",
		`"head_dim":1e9`:                       "head_dim",
		`"head_dim":65538`:                     "head_dim",
		`"head_dim":65536,"per_layer_config":{"1":{"num_attention_heads":257,"num_key_value_heads":1}}`: "layer 1",
		`"head_dim":2.5`:                                 "head_dim",
		`"head_dim":"2"`:                                 "head_dim",
		`"rms_norm_eps":0`:                               "rms_norm_eps",
		`"rms_norm_eps":1e999`:                           "rms_norm_eps",
		`"max_position_embeddings":0`:                    "max_position_embeddings",
		`"rope_theta":0`:                                 "rope_theta",
		`"rope_theta":1e300`:                             "rope_theta",
		`"eos_token_id":[1,"2"]`:                         "eos_token_id",
		`"bos_token_id":-5`:                              "bos_token_id",
		`"bos_token_id":[1,2]`:                           "bos_token_id",
		`"tie_word_embeddings":1`:                        "tie_word_embeddings",
		`"torch_dtype":"int8"`:                           "int8",
		`"torch_dtype":"float8_e4m3fn"`:                  "float8_e4m3fn",
		`"rope_scaling":{"rope_type":"yarn","factor":2}`: "yarn",
		`"rope_scaling":{"type":"dynamic"}`:              "factor",
		`"rope_scaling":{"type":"longrope","factor":2}`:  "longrope",
		`"rope_scaling":{"type":"linear","rope_type":"llama3","factor":2}`: "linear",
		`"rope_scaling":{"type":"linear","factor":0.5}`:                    "factor",
		`"rope_scaling":{"type":"linear"}`:                                 "factor",
		`"rope_scaling":{"factor":4}`:                                      "factor",
		`"rope_scaling":{"type":"linear","factor":2,"long_factor":[1,2]}`:  "long_factor",
		`"rope_scaling":{"type":"linear","factor":2},"rope_parameters":{}`: "both",
		`"rope_scaling":4`: "rope_scaling",
		`"rope_parameters":{"full_attention":{"rope_type":"default"}}`:                                                                    "full_attention",
		`"rope_parameters":{"rope_type":"default","partial_rotary_factor":0.5}`:                                                           "partial_rotary_factor",
		`"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":1,"original_max_position_embeddings":64}`: "low_freq_factor",
		`"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4}`:                                       "original_max_position_embeddings",
		`"per_layer_config":[]`:                                   "per_layer_config",
		`"per_layer_config":{"3":{}}`:                             `"3"`,
		`"per_layer_config":{"-1":{}}`:                            `"-1"`,
		`"per_layer_config":{"1":{},"01":{}}`:                     "twice",
		`"per_layer_config":{"+1":{}}`:                            `"+1"`,
		`"per_layer_config":{"1":{},"1":{}}`:                      "twice",
		`"per_layer_config":{"1":[]}`:                             "layer 1",
		`"per_layer_config":{"1":{"skip":["norm"]}}`:              "norm",
		`"per_layer_config":{"1":{"skip":"mlp"}}`:                 "skip",
		`"per_layer_config":{"1":{"skip":["mlp","mlp"]}}`:         "once",
		`"per_layer_config":{"1":{"hidden_size":4}}`:              "layer 1: unknown key \"hidden_size\"",
		`"per_layer_config":{"1":{"intermediate_size":0}}`:        "intermediate_size",
		`"per_layer_config":{"1":{"num_attention_heads":3}}`:      "layer 1",
		`"per_layer_config":{"1":{"intermediate_size":99999999}}`: "intermediate_size",
		`"block_configs":[]`:                                      "block_configs",
		`"block_configs":[],"per_layer_config":{}`:                "both",
	} {
		if _, err := Parse([]byte("{" + small + "," + add + "}")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error with %q, got %v", add, want, err)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want one line, got %q", add, err)
		}
	}
}

func TestNotAConfig(t *testing.T) {
	for text, want := range map[string]string{
		"": "ends inside", "null": "want a JSON object", "[]": "want a JSON object", "7": "want a JSON object", "{": "ends inside", "{} {}": "after",
		"{}": "absent", `{"a":1,}`: "invalid", "{'a':1}": "invalid",
		`{"num_hidden_layers":1000000000,"hidden_size":8,"vocab_size":9,"num_attention_heads":2,"intermediate_size":4}`: "num_hidden_layers",
		`{"num_hidden_layers":10001,"hidden_size":8,"vocab_size":9,"num_attention_heads":2,"intermediate_size":4}`:      "10000",
		`{"hidden_size":8,"vocab_size":9,"num_hidden_layers":3,"num_attention_heads":3,"intermediate_size":4}`:          "head_dim: absent",
		// Each size is in its range, the product is not.
		`{"hidden_size":16777216,"vocab_size":16777216,"num_hidden_layers":9999,"num_attention_heads":2,"head_dim":2,"intermediate_size":16777216}`: "parameters",
		strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100):                                                                               "nested",
		strings.Repeat("[", 1<<20): "nested",
		`{"` + strings.Repeat("k", 1<<20) + `":1,"hidden_act":"` + strings.Repeat("x", 1<<20) + `"}`: "hidden_act",
	} {
		c, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 400 {
			t.Errorf("%.60q: want a short error with %q, got %+v, %.500v", text, want, c, err)
		}
	}
}

// Configs that are built in code are checked against the same bounds when they are written.
func TestMarshalRefuses(t *testing.T) {
	for what, spoil := range map[string]func(*Config){
		"no layers":         func(c *Config) { c.Layers = nil },
		"another head_dim":  func(c *Config) { c.Layers[1].HeadDim = 4 },
		"negative mlp":      func(c *Config) { c.Layers[1].Intermediate = -1 },
		"heads without kv":  func(c *Config) { c.Layers[1].KVHeads = 0 },
		"vocab 0":           func(c *Config) { c.VocabSize = 0 },
		"no type":           func(c *Config) { c.DType = "" },
		"bos -2":            func(c *Config) { c.BOS = -2 },
		"eos -1":            func(c *Config) { c.EOS = []int{-1} },
		"unknown rope type": func(c *Config) { c.RopeScaling = &RopeScaling{Type: "yarn", Factor: 2} },
		"linear with more":  func(c *Config) { c.RopeScaling = &RopeScaling{Type: "linear", Factor: 2, LowFreqFactor: 1} },
	} {
		c := parse(t, "")
		spoil(c)
		if text, err := Marshal(c); err == nil {
			t.Errorf("%s: want an error, got\n%s", what, text)
		}
	}
}
