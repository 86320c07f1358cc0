package config

import (
	"fmt"
	"slices"
	"strings"

	"mop/internal/files"
)

// Load reads a config.json. Errors name the file.
func Load(path string) (*Config, error) {
	data, err := files.ReadText(path, maxFile)
	if err != nil {
		return nil, err
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads a config.json of any version of transformers: LLaMA-2 and LLaMA-3, Mistral
// without a sliding window, the language model of a LLaVA-1.5, mop's form of
// heterogeneous models, and Nemotron-NAS's block_configs. A key that would change the
// forward pass and is not supported is an error that names it, and so is a repeated
// key. Keys that change nothing go to Extra.
func Parse(data []byte) (*Config, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("want at most %d bytes, got more", maxFile)
	}
	if err := files.CheckLFS(data); err != nil {
		return nil, err
	}
	if err := CheckJSON(data); err != nil {
		return nil, err
	}
	raw, err := object(data)
	if err != nil {
		return nil, err
	}
	f := &fields{raw: raw}
	c := &Config{Multimodal: f.languageModel()}
	mistral := f.family()
	f.refuse()
	f.shapes(c)
	f.rope(c)
	// Absent keys have LLaMA's defaults.
	c.NormEps = f.num("rms_norm_eps", 1e-6)
	c.MaxPositions = f.size("max_position_embeddings", 2048, 1)
	c.Tied = f.boolean("tie_word_embeddings", false)
	c.BOS = -1
	if ids := f.ids("bos_token_id", 1); len(ids) == 1 {
		c.BOS = ids[0]
	} else if len(ids) > 1 {
		f.fail("bos_token_id: want one id, got %v", ids)
	}
	c.EOS = f.ids("eos_token_id", 2)
	c.DType = f.str("torch_dtype", "float32")
	c.DType = strings.TrimPrefix(f.str("dtype", c.DType), "torch.") // as some exporters write it
	err = f.err
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		if c.Multimodal != nil {
			err = fmt.Errorf("language model: %w", err)
		}
		return nil, err
	}
	if len(f.raw) > 0 {
		c.Extra = f.raw
	}
	// "" where the type that was read is the one that is written by default.
	if c.Uniform() && mistral == c.dividesWidth() {
		c.HFType = TypeLlama
		if mistral {
			c.HFType = TypeMistral
		}
	}
	return c, nil
}

// llamaArchitectures are the classes whose network is LLaMA's. LLaMAForCausalLM is an early
// name, and LlamaModel the network without its LM head, which a tied one does not need.
var llamaArchitectures = []any{"LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel", heterogeneousArchitecture, nemotronArchitecture}

// family refuses models that are not LLaMAs. It drops auto_map, which names code beside
// the original.
func (f *fields) family() (mistral bool) {
	modelType := f.str("model_type", "llama")
	if !slices.Contains([]string{"llama", TypeMistral, heterogeneousType, TypeNemotronNAS}, modelType) {
		f.fail("model_type: want llama, llava, %s, %s or nemotron-nas, got %s", TypeMistral, heterogeneousType, show(modelType))
	}
	mistral = modelType == TypeMistral
	if mistral {
		f.mistral()
	}
	if v, ok := f.take("architectures"); ok {
		list, isList := v.([]any)
		for _, a := range list {
			if mistral && a != mistralArchitecture {
				isList = false
			}
			if !mistral && !slices.Contains(llamaArchitectures, a) {
				isList = false
			}
		}
		if !isList {
			f.fail("architectures: want LlamaForCausalLM, %s for model_type %s, %s or DeciLMForCausalLM, got %s", mistralArchitecture, TypeMistral, heterogeneousArchitecture, show(v))
		}
	}
	delete(f.raw, "auto_map")
	delete(f.raw, "transformers_version")
	return mistral
}

// shapes reads all sizes. The number of layers is checked before anything is allocated.
func (f *fields) shapes(c *Config) {
	c.VocabSize = f.size("vocab_size", 0, 1)
	c.HiddenSize = f.size("hidden_size", 0, 1)
	layers := f.size("num_hidden_layers", 0, 1)
	if layers > maxLayers {
		f.fail("num_hidden_layers: want at most %d, got %d", maxLayers, layers)
	}
	s := LayerShape{}
	s.Heads = f.size("num_attention_heads", 0, 1)
	s.KVHeads = f.size("num_key_value_heads", s.Heads, 1)
	derived := 0
	if s.Heads > 0 && c.HiddenSize%s.Heads == 0 {
		derived = c.HiddenSize / s.Heads
	} else if !f.has("head_dim") {
		f.fail("head_dim: absent, and hidden_size %d is not a multiple of num_attention_heads %d", c.HiddenSize, s.Heads)
	}
	s.HeadDim = f.size("head_dim", derived, 1)
	c.HeadDim = s.HeadDim
	blocks := f.has("block_configs")
	if blocks && f.has("per_layer_config") {
		f.fail("block_configs and per_layer_config: want one of the two, got both")
	}
	if blocks {
		s.Intermediate = f.size("intermediate_size", 0, 0) // each block has its own
	} else {
		s.Intermediate = f.size("intermediate_size", 0, 1)
	}
	if f.err != nil {
		return
	}
	c.Layers = slices.Repeat([]LayerShape{s}, layers)
	f.layers(c)
	f.blocks(c)
}
