package config

import (
	"fmt"
	"log/slog"
	"strings"
)

// The model types of uniform models. A Mistral without a sliding window is the same
// network as a LLaMA. transformers 5 and vLLM load head counts that do not divide
// hidden_size only as a Mistral.
const (
	TypeLlama   = "llama"
	TypeMistral = "mistral"
)

const (
	mistralArchitecture = "MistralForCausalLM"

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

// HFTypes lists the values of HFType that a user may ask for.
func HFTypes() []string { return []string{TypeLlama, TypeMistral} }

// CheckHFType refuses a model type that is neither empty nor one of HFTypes.
func CheckHFType(name string) error {
	if name != "" && name != TypeLlama && name != TypeMistral {
		return fmt.Errorf("hf type: want one of %s, got %q", strings.Join(HFTypes(), ", "), name)
	}
	return nil
}

// dividesWidth reports whether the head count of a uniform model divides its hidden size.
func (c *Config) dividesWidth() bool { return c.HiddenSize%c.Layers[0].Heads == 0 }

// WrittenType is the model_type that Marshal writes.
func (c *Config) WrittenType() string {
	switch {
	case c.HFType == TypeNemotronNAS:
		return TypeNemotronNAS
	case !c.Uniform():
		return heterogeneousType
	case c.HFType != "":
		return c.HFType
	case c.dividesWidth():
		return TypeLlama
	}
	return TypeMistral
}

// SetHFType prepares a config for writing with the model type that the user asked for,
// "" for the default: a Mistral stays a Mistral, and any other model is written in the
// form that every engine loads.
func (c *Config) SetHFType(asked string) {
	if asked != "" || c.HFType == TypeLlama {
		c.HFType = asked
	}
}

// LogHFType logs what the user should know about the form in which the model of a
// directory is written.
func (c *Config) LogHFType(dir string) {
	switch {
	case !c.Uniform():
		if c.HFType != "" {
			slog.Warn("its layers have different shapes: config.json is written with remote code instead", "model", dir, "hf-type", c.HFType)
		}
	case c.dividesWidth():
	case c.HFType == TypeLlama:
		slog.Warn("transformers 5 and vLLM refuse this LLaMA, because its number of heads does not divide its hidden size: --hf-type mistral writes a model that they load",
			"model", dir, "heads", c.Layers[0].Heads, "width", c.HiddenSize)
	case c.HFType == "":
		slog.Info("written as a Mistral without a sliding window, which is the same network: transformers 5 refuses a LLaMA whose number of heads does not divide its hidden size; --hf-type llama writes one",
			"model", dir, "heads", c.Layers[0].Heads, "width", c.HiddenSize)
	}
}
