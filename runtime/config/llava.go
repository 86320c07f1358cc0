package config

import (
	"maps"
	"strings"
)

// languageModel reduces the config of a LLaVA-1.5 to that of its language model
// and reports whether it was one. transformers nests it in text_config, where
// every key at LLaMA's default is left out; LLaVA's own releases put the vision
// keys beside it. The names of the tensors tell the two apart on their own.
func (f *fields) languageModel() bool {
	modelType, _ := f.raw["model_type"].(string)
	if modelType != "llava" && modelType != "llava_llama" {
		return false
	}
	if a, ok := f.raw["architectures"].([]any); ok && len(a) > 0 && a[0] != "LlavaForConditionalGeneration" && a[0] != "LlavaLlamaForCausalLM" {
		f.fail("architectures: want LlavaForConditionalGeneration or LlavaLlamaForCausalLM, got %s", show(a[0]))
	}
	outer := f.raw
	text := f.object("text_config")
	if text == nil {
		for key := range outer {
			for _, prefix := range []string{"mm_", "use_mm_", "tune_mm_", "freeze_mm_", "unfreeze_mm_", "image_"} {
				if strings.HasPrefix(key, prefix) {
					delete(outer, key)
				}
			}
		}
		outer["model_type"] = "llama"
		delete(outer, "architectures")
		return true
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
	return true
}
