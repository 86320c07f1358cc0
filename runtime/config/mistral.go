package config

// A Mistral without a sliding window is a LLaMA by another name, and the name
// under which transformers 5 loads head counts that do not divide hidden_size.
const (
	mistralArchitecture = "MistralForCausalLM"
	mistralType         = "mistral"
	mistralWindow       = 4096 // positions; sliding_window where the key is absent
)

// mistral refuses a Mistral that is more than a LLaMA, and one whose absent keys
// stand for other values than LLaMA's.
func (f *fields) mistral() {
	for _, key := range []string{"num_key_value_heads", "max_position_embeddings"} {
		if !f.has(key) {
			f.fail("%s: absent, want it said for model_type %s", key, mistralType)
		}
	}
	window, said := f.raw["sliding_window"]
	positions, _ := number(f.raw["max_position_embeddings"])
	switch {
	case window != nil:
		f.fail("sliding_window: want null, got %s", show(window))
	case !said && positions > mistralWindow:
		f.fail("sliding_window: absent, which stands for %d of %v positions: want null", mistralWindow, positions)
	}
	delete(f.raw, "sliding_window")
}

// RefusedByTransformers5 reports whether transformers 5 refuses what Marshal writes, and would
// load it if it were marked Mistral.
func (c *Config) RefusedByTransformers5() bool {
	return c.Uniform() && !c.Mistral && c.HiddenSize%c.Layers[0].Heads != 0
}
