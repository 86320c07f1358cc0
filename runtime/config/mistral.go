package config

// A Mistral without a sliding window is the same network as a LLaMA. transformers 5 loads
// head counts that do not divide hidden_size only as a Mistral.
const (
	mistralArchitecture = "MistralForCausalLM"
	mistralType         = "mistral"

	// transformers' values of absent keys.
	mistralWindow    = 4096
	mistralPositions = 4096 * 32
	mistralKVHeads   = 8
)

// mistral fills in the defaults of absent keys, and refuses a sliding window that is
// shorter than the context.
func (f *fields) mistral() {
	if !f.has("num_key_value_heads") {
		f.raw["num_key_value_heads"] = float64(mistralKVHeads)
	}
	if !f.has("max_position_embeddings") {
		f.raw["max_position_embeddings"] = float64(mistralPositions)
	}
	positions, _ := number(f.raw["max_position_embeddings"])
	window, present := f.raw["sliding_window"]
	if !present {
		window = float64(mistralWindow)
	}
	if window != nil {
		if n, ok := number(window); !ok || n < positions {
			f.fail("sliding_window: want null or at least max_position_embeddings = %v, got %s (%v where absent): a window within the context is not supported; "+
				"max_position_embeddings may be lowered to it", positions, show(window), mistralWindow)
		}
	}
	delete(f.raw, "sliding_window")
}

// RefusedByTransformers5 reports whether transformers 5 refuses what Marshal writes, but
// would load it as a Mistral.
func (c *Config) RefusedByTransformers5() bool {
	return c.Uniform() && !c.Mistral && c.HiddenSize%c.Layers[0].Heads != 0
}
