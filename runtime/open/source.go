package open

import (
	"fmt"
	"slices"
	"strings"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

const presetPrefix = "preset:"

// IsPreset reports whether a model's name is "preset:NAME" and not a directory.
func IsPreset(name string) bool { return strings.HasPrefix(name, presetPrefix) }

// SourceOptions say how random weights are made. Stored weights ignore them.
type SourceOptions struct {
	Seed  uint64
	DType string // one of DTypes; "" = the type that the config names
}

// DTypes are the names of the element types that random weights may have.
func DTypes() []string { return []string{"bf16", "f16", "f32"} }

// Check returns an error if there is no such element type.
func (o SourceOptions) Check() error {
	if o.DType != "" && !slices.Contains(DTypes(), o.DType) {
		return fmt.Errorf("dtype: want one of %s, got %q", strings.Join(DTypes(), ", "), o.DType)
	}
	return nil
}

// Source opens a checkpoint directory, or makes a preset with random weights. The caller
// closes it.
func Source(name string, o SourceOptions) (checkpoint.Source, error) {
	if !IsPreset(name) {
		return checkpoint.Open(name)
	}
	c, err := Config(name)
	if err != nil {
		return nil, err
	}
	return o.Random(c), nil
}

// Config reads only the config of a checkpoint directory or a preset.
func Config(name string) (*config.Config, error) {
	if p, ok := strings.CutPrefix(name, presetPrefix); ok {
		return config.Preset(p)
	}
	return config.Load(name + "/config.json")
}

// Random is a source of random weights for a config of any shape.
func (o SourceOptions) Random(c *config.Config) checkpoint.Source {
	return checkpoint.Random(c, o.Seed, o.ElementType(c))
}

// ElementType is the type of random weights for a config.
func (o SourceOptions) ElementType(c *config.Config) checkpoint.DType {
	switch o.DType {
	case "bf16":
		return checkpoint.BF16
	case "f16":
		return checkpoint.F16
	case "f32":
		return checkpoint.F32
	}
	return StoredType(c)
}

// StoredType is the element type that a config says its weights are stored in.
func StoredType(c *config.Config) checkpoint.DType {
	switch c.DType {
	case "float16":
		return checkpoint.F16
	case "float32":
		return checkpoint.F32
	}
	return checkpoint.BF16
}
