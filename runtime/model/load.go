package model

import (
	"fmt"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Load places all weights on the device in the types in which they are stored. The
// source must stay open while the model is used.
func Load(dev device.Device, src checkpoint.Source) (*Model, error) {
	return LoadPlaced(dev, src, device.PlaceOptions{})
}

// LoadPlaced is Load with options for the weights.
func LoadPlaced(dev device.Device, src checkpoint.Source, o device.PlaceOptions) (*Model, error) {
	c := src.Config()
	m := &Model{Config: c, dev: dev, rope: device.RoPEFrequencies{InvFreq: c.InvFreq()}}
	m.weights.Layers = make([]Layer, len(c.Layers))
	for l := range m.weights.Layers {
		m.weights.Layers[l].Shape = c.Layers[l]
	}
	setComputeType(dev, src)
	random, _ := src.(checkpoint.RandomSource)
	err := m.ReplaceWeights(func(info checkpoint.TensorInfo) (device.Weight, error) {
		if random != nil {
			if r, ok := random.RandomSpec(info.Name); ok {
				return dev.PlaceRandom(r, o)
			}
		}
		t, err := src.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(info.Shape, t.Shape) {
			return nil, fmt.Errorf("%s: want shape %v, got %v", info.Name, info.Shape, t.Shape)
		}
		return dev.Place(t, o)
	})
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// ReplaceWeights sets every weight to the one that place returns for its tensor, in
// the order of checkpoint.ExpectedTensors, and frees the one before. Training uses it to replace stored weights
// by float32 parameters.
func (m *Model) ReplaceWeights(place func(checkpoint.TensorInfo) (device.Weight, error)) error {
	weights := m.weights.byName()
	m.bytes = 0
	for _, info := range checkpoint.ExpectedTensors(m.Config) {
		w, err := place(info)
		if err != nil {
			return err
		}
		freeWeight(*weights[info.Name])
		*weights[info.Name] = w
		m.bytes += w.Bytes()
	}
	if m.Config.Tied {
		m.weights.Head = m.weights.Embed
	}
	return nil
}

// byName maps the names of a checkpoint's tensors to the fields that hold them.
func (w *Weights) byName() map[string]*device.Weight {
	fields := map[string]*device.Weight{checkpoint.EmbedName: &w.Embed, checkpoint.NormName: &w.Norm, checkpoint.HeadName: &w.Head}
	for l := range w.Layers {
		for _, p := range append(checkpoint.Projections(), checkpoint.AttnNorm, checkpoint.MLPNorm) {
			fields[checkpoint.LayerName(l, p)] = w.Layers[l].weight(p)
		}
	}
	return fields
}

// setComputeType chooses the type of a device that computes in one 16-bit type: the
// type of most elements of the source's matrices, bfloat16 if none has 16 bits.
func setComputeType(dev device.Device, src checkpoint.Source) {
	if !dev.Capabilities().SingleType {
		return
	}
	random, _ := src.(checkpoint.RandomSource)
	var elements [3]int // by type
	for _, info := range checkpoint.ExpectedTensors(src.Config()) {
		if len(info.Shape) != 2 {
			continue
		}
		n := info.Shape[0] * info.Shape[1]
		if random != nil { // generating a tensor only to see its type would take long
			if r, ok := random.RandomSpec(info.Name); ok {
				elements[r.DType] += n
				continue
			}
		}
		if t, err := src.Tensor(info.Name); err == nil { // placing the tensor reports an error
			elements[t.DType] += n
		}
	}
	if elements[checkpoint.F16] > elements[checkpoint.BF16] {
		dev.SetComputeType(checkpoint.F16)
	} else {
		dev.SetComputeType(checkpoint.BF16)
	}
}

// Device returns the device that holds the model.
func (m *Model) Device() device.Device { return m.dev }

// Weights returns the model's parameters. They must not be changed.
func (m *Model) Weights() Weights { return m.weights }

// RoPE returns the rotary frequencies.
func (m *Model) RoPE() device.RoPEFrequencies { return m.rope }

// WeightBytes returns the size of all weights as they are stored, in bytes.
func (m *Model) WeightBytes() int64 { return m.bytes }

// BytesPerToken returns how many bytes it takes to decode one token of one sequence
// that has context positions in the cache: every weight is read once, of an untied
// embedding table only one row, and so are the keys and values of the cache.
func (m *Model) BytesPerToken(context int) int64 {
	n := m.bytes
	if !m.Config.Tied {
		n -= m.weights.Embed.Bytes()
	}
	n += m.weights.Embed.Bytes() / int64(m.Config.VocabSize)
	can := m.dev.Capabilities()
	for _, s := range m.Config.Layers {
		n += int64(context) * can.CacheBytes(s.KVHeads, s.HeadDim)
	}
	return n
}
