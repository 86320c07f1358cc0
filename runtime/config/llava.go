package config

import (
	"maps"
	"strings"
)

// nested is the key that transformers keeps a LLaVA's language model under.
const nested = "text_config"

// languageModel reduces the config of a LLaVA-1.5 to that of its language model and
// returns the other keys, nil where it is not a LLaVA. transformers nests the language
// model in text_config, where keys with LLaMA's default values are left out. LLaVA's own
// releases put the vision keys beside those of the language model.
func (f *fields) languageModel() (wrapper map[string]any) {
	modelType, _ := f.raw["model_type"].(string)
	if modelType != "llava" && modelType != "llava_llama" {
		return nil
	}
	if a, ok := f.raw["architectures"].([]any); ok && len(a) > 0 && a[0] == "MopLlavaForConditionalGeneration" {
		f.raw["architectures"] = []any{"LlavaForConditionalGeneration"} // the class of llavaCode, as transformers saves it
	} else if ok && len(a) > 0 && a[0] != "LlavaForConditionalGeneration" && a[0] != "LlavaLlamaForCausalLM" {
		f.fail("architectures: want LlavaForConditionalGeneration or LlavaLlamaForCausalLM, got %s", show(a[0]))
	}
	outer := f.raw
	text := f.object(nested)
	if text == nil {
		wrapper = map[string]any{}
		for key, v := range outer {
			vision := key == "model_type" || key == "architectures"
			for _, prefix := range []string{"mm_", "use_mm_", "tune_mm_", "freeze_mm_", "unfreeze_mm_", "image_"} {
				vision = vision || strings.HasPrefix(key, prefix)
			}
			if vision {
				wrapper[key] = v
				delete(outer, key)
			}
		}
		outer["model_type"] = "llama"
		return wrapper
	}
	if f.has("quantization_config") {
		f.fail("quantization_config: not supported")
	}
	inner := maps.Clone(text)
	for key, v := range map[string]any{
		"model_type": "llama", "vocab_size": 32000., "hidden_size": 4096., "num_hidden_layers": 32., "num_attention_heads": 32.,
		"intermediate_size": 11008., "tie_word_embeddings": outer["tie_word_embeddings"], "torch_dtype": outer["torch_dtype"], "dtype": outer["dtype"],
	} {
		if inner[key] == nil {
			inner[key] = v
		}
	}
	f.raw = inner
	wrapper = maps.Clone(outer)
	if m, ok := wrapper["auto_map"].(map[string]any); ok && m["AutoConfig"] == llavaAutoMap()["AutoConfig"] {
		delete(wrapper, "auto_map") // Marshal writes it where the layers differ
	}
	wrapper[nested] = nil // marks the form
	return wrapper
}

// Nested reports whether the config is that of a LLaVA in transformers' layout, which keeps
// the language model under text_config.
func (c *Config) Nested() bool {
	_, ok := c.Multimodal[nested]
	return ok
}

// embed joins a language model's keys with those of its wrapper, in the form in which
// they were read.
func embed(inner, wrapper map[string]any) map[string]any {
	out := maps.Clone(wrapper)
	if _, ok := out[nested]; ok {
		out[nested] = inner
		return out
	}
	for key, v := range inner {
		if _, ok := out[key]; !ok {
			out[key] = v
		}
	}
	return out
}
