// Package model is the LLaMA forward pass over layers of any shape, written
// once over the operations of a device. What flows in: a checkpoint, then token
// ids. What flows out: logits.
package model

import (
	"fmt"
	"slices"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
)

// Model is a checkpoint placed on a device.
type Model struct {
	Config *config.Config

	dev    device.Device
	rope   device.RoPEFrequencies
	embed  device.Weight // [V, D]
	layers []layer
	norm   device.Weight // [D]
	head   device.Weight // [V, D], embed where tied
	bytes  int64         // of all weights

	work     workspace
	recorded capturedDecode
	kind     device.Phase // of the last pass
}

// layer holds one decoder layer; the weights of a skipped block are nil.
type layer struct {
	shape                      config.LayerShape
	attnNorm, wq, wk, wv, wo   device.Weight // [D] [H*Dh, D] [K*Dh, D] [K*Dh, D] [D, H*Dh]
	mlpNorm, wgate, wup, wdown device.Weight // [D] [I, D] [I, D] [D, I]
}

// heads is the layer's attention shape.
func (y *layer) heads() device.AttentionShape {
	return device.AttentionShape{H: y.shape.Heads, K: y.shape.KVHeads, Dh: y.shape.HeadDim}
}

// Load places all weights as they are stored. The source must stay open while the model
// is used.
func Load(dev device.Device, src checkpoint.Source) (*Model, error) {
	return LoadPlaced(dev, src, device.PlaceOptions{})
}

// LoadPlaced is Load with options for the weights.
func LoadPlaced(dev device.Device, src checkpoint.Source, o device.PlaceOptions) (*Model, error) {
	c := src.Config()
	m := &Model{Config: c, dev: dev, rope: device.RoPEFrequencies{InvFreq: c.InvFreq()}, layers: make([]layer, len(c.Layers))}
	recipes, _ := src.(checkpoint.RandomSource)
	place := func(info checkpoint.TensorInfo) (device.Weight, error) {
		if recipes != nil {
			if r, ok := recipes.RandomSpec(info.Name); ok {
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
	}
	computeIn(dev, src)
	for l := range m.layers {
		m.layers[l].shape = c.Layers[l]
	}
	to := m.weights()
	for _, info := range checkpoint.ExpectedTensors(c) {
		w, err := place(info)
		if err != nil {
			return nil, err
		}
		*to[info.Name] = w
		m.bytes += w.Bytes()
	}
	if c.Tied {
		m.head = m.embed
	}
	return m, nil
}

// weights are the places of the model's weights, by the names of their tensors.
func (m *Model) weights() map[string]*device.Weight {
	to := map[string]*device.Weight{checkpoint.EmbedName: &m.embed, checkpoint.NormName: &m.norm, checkpoint.HeadName: &m.head}
	for l := range m.layers {
		for _, p := range append(checkpoint.Projections(), checkpoint.AttnNorm, checkpoint.MLPNorm) {
			to[checkpoint.LayerName(l, p)] = m.layers[l].part(p)
		}
	}
	return to
}

// computeIn tells a device that computes in one 16-bit type which: that of most bytes
// of the source's matrices, bfloat16 where none is of 16 bits.
func computeIn(dev device.Device, src checkpoint.Source) {
	if !dev.Capabilities().SingleType {
		return
	}
	recipes, _ := src.(checkpoint.RandomSource)
	var elements [3]int // by type
	for _, info := range checkpoint.ExpectedTensors(src.Config()) {
		if len(info.Shape) != 2 {
			continue
		}
		n := info.Shape[0] * info.Shape[1]
		if recipes != nil { // making one only to ask for its type takes long
			if r, ok := recipes.RandomSpec(info.Name); ok {
				elements[r.DType] += n
				continue
			}
		}
		if t, err := src.Tensor(info.Name); err == nil { // else it is told where it is placed
			elements[t.DType] += n
		}
	}
	if elements[checkpoint.F16] > elements[checkpoint.BF16] {
		dev.SetComputeType(checkpoint.F16)
	} else {
		dev.SetComputeType(checkpoint.BF16)
	}
}

// Device is where the model lives.
func (m *Model) Device() device.Device { return m.dev }

// WeightBytes is the size of all weights as stored, in bytes.
func (m *Model) WeightBytes() int64 { return m.bytes }

// BytesPerToken is what decoding one token of one sequence reads, with context
// positions in the cache: every weight once (of an untied embedding table only
// one row) and the cache's keys and values.
func (m *Model) BytesPerToken(context int) int64 {
	n := m.bytes
	if !m.Config.Tied {
		n -= m.embed.Bytes()
	}
	n += m.embed.Bytes() / int64(m.Config.VocabSize)
	element := int64(m.dev.Capabilities().CacheElementBytes)
	for _, s := range m.Config.Layers {
		n += 2 * element * int64(context) * int64(s.KVHeads) * int64(s.HeadDim)
	}
	return n
}
