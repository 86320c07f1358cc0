package open

import (
	"errors"
	"fmt"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/model"
)

// ModelOptions say how a model's matrices are held and multiplied.
type ModelOptions struct {
	// Weights is "stored" (or ""): in the checkpoint's type; or "int8": with a scale for
	// each row, multiplied by activations of 16 bits.
	Weights string
	// Activations is what bfloat16 weights are multiplied by: "float32" (or ""), or
	// "bfloat16": rounded to bfloat16, with float32 sums.
	Activations string
}

// Check returns an error if there are no such options.
func (o ModelOptions) Check() error {
	if !slices.Contains([]string{"", "stored", "int8"}, o.Weights) {
		return fmt.Errorf("weights: want one of stored, int8, got %q", o.Weights)
	}
	if !slices.Contains([]string{"", "float32", "bfloat16"}, o.Activations) {
		return fmt.Errorf("activations: want one of float32, bfloat16, got %q", o.Activations)
	}
	if o.Rounded() && o.Int8() {
		return fmt.Errorf("activations bfloat16: multiplies stored weights, not weights int8")
	}
	return nil
}

// Int8 reports whether matrices are held as int8.
func (o ModelOptions) Int8() bool { return o.Weights == "int8" }

// Rounded reports whether activations are rounded to bfloat16.
func (o ModelOptions) Rounded() bool { return o.Activations == "bfloat16" }

// Model is a loaded model, with the name that the user gave it and its weights' source,
// which must stay open as long as the model is used.
type Model struct {
	*model.Model
	Name   string
	Source checkpoint.Source
}

// LoadModel loads a model by its name onto a device that others may share. It refuses
// weights that do not fit into memory or are not finite.
func LoadModel(dev device.Device, name string, from SourceOptions, o ModelOptions) (*Model, error) {
	src, err := Source(name, from)
	if err != nil {
		return nil, err
	}
	var m *model.Model
	if err = CheckMemory(dev, name, from.GeneratedBytes(src)); err == nil {
		m, err = PlaceWeights(dev, src, o)
	}
	if err == nil {
		if err = CheckFinite(src); err != nil {
			m.Close()
		}
	}
	if err != nil {
		src.Close()
		return nil, err
	}
	return &Model{m, name, src}, nil
}

// PlaceWeights places a source's weights on a device.
func PlaceWeights(dev device.Device, src checkpoint.Source, o ModelOptions) (*model.Model, error) {
	can := dev.Capabilities()
	switch {
	case o.Rounded() && !can.BF16Activations:
		return nil, fmt.Errorf("activations bfloat16: want device cpu, got %s", can.Name)
	case o.Int8() && !can.Int8Weights:
		return nil, fmt.Errorf("weights int8: device %s does not support them", can.Name)
	}
	return model.LoadPlaced(dev, src, device.PlaceOptions{Int8: o.Int8(), BF16Activations: o.Rounded()})
}

// CheckFinite reads all stored weights once, as the first forward pass would, and returns
// an error if one is not a finite number: such a weight makes every result meaningless,
// which the results do not always show.
func CheckFinite(src checkpoint.Source) error {
	if _, stored := src.(*checkpoint.Dir); !stored {
		return nil // generated weights are finite
	}
	return checkpoint.CheckFinite(src)
}

// Close frees the model and closes the source, not the device.
func (m *Model) Close() error { return errors.Join(m.Model.Close(), m.Source.Close()) }

// Wrap names the model in an error of its use.
func (m *Model) Wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", m.Name, err)
}
