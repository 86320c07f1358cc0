// Package model is the LLaMA forward pass over layers of any shape, written
// once over the operations of a device. What flows in: a checkpoint, then token
// ids. What flows out: logits.
package model

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
)

// Model is a checkpoint placed on a device.
type Model struct {
	Config *config.Config

	dev    device.Device
	rope   device.Rope
	embed  device.Weight // [V, D]
	layers []layer
	norm   device.Weight // [D]
	head   device.Weight // [V, D], embed where tied
	bytes  int64         // of all weights

	work     workspace
	recorded recorded
	kind     device.Kind // of the last pass
}

// layer holds one decoder layer; the weights of a skipped block are nil.
type layer struct {
	shape                      config.LayerShape
	attnNorm, wq, wk, wv, wo   device.Weight // [D] [H*Dh, D] [K*Dh, D] [K*Dh, D] [D, H*Dh]
	mlpNorm, wgate, wup, wdown device.Weight // [D] [I, D] [I, D] [D, I]
}

// heads is the layer's attention shape.
func (y *layer) heads() device.Heads {
	return device.Heads{H: y.shape.Heads, K: y.shape.KVHeads, Dh: y.shape.HeadDim}
}

// Load places all weights. The source must stay open while the model is used.
func Load(dev device.Device, src checkpoint.Source) (*Model, error) {
	maker, _ := dev.(device.Maker)
	return load(dev, src, dev.Place, maker)
}

// LoadPlaced is Load with a way of the device's own to place weights; random ones too
// are the host's.
func LoadPlaced(dev device.Device, src checkpoint.Source, put func(checkpoint.Tensor) (device.Weight, error)) (*Model, error) {
	return load(dev, src, put, nil)
}

func load(dev device.Device, src checkpoint.Source, put func(checkpoint.Tensor) (device.Weight, error), maker device.Maker) (*Model, error) {
	c := src.Config()
	m := &Model{Config: c, dev: dev, rope: device.Rope{InvFreq: c.InvFreq()}, layers: make([]layer, len(c.Layers))}
	shapes := map[string][]int{}
	for _, info := range checkpoint.Expected(c) {
		shapes[info.Name] = info.Shape
	}
	recipes, _ := src.(checkpoint.Generated)
	place := func(dst *device.Weight, name string) (err error) {
		if recipes != nil && maker != nil {
			if r, ok := recipes.Recipe(name); ok {
				if *dst, err = maker.Make(r); err == nil {
					m.bytes += (*dst).Bytes()
				}
				return err
			}
		}
		t, err := src.Tensor(name)
		if err != nil {
			return err
		}
		if want := shapes[name]; fmt.Sprint(want) != fmt.Sprint(t.Shape) {
			return fmt.Errorf("%s: want shape %v, got %v", name, want, t.Shape)
		}
		if *dst, err = put(t); err != nil {
			return err
		}
		m.bytes += (*dst).Bytes()
		return nil
	}
	if err := place(&m.embed, checkpoint.EmbedName); err != nil {
		return nil, err
	}
	for l := range m.layers {
		y := &m.layers[l]
		y.shape = c.Layers[l]
		for _, block := range [][]part{
			{{checkpoint.WQ, &y.wq}, {checkpoint.WK, &y.wk}, {checkpoint.WV, &y.wv}, {checkpoint.WO, &y.wo}, {checkpoint.AttnNorm, &y.attnNorm}},
			{{checkpoint.WGate, &y.wgate}, {checkpoint.WUp, &y.wup}, {checkpoint.WDown, &y.wdown}, {checkpoint.MLPNorm, &y.mlpNorm}},
		} {
			for _, x := range block {
				name := checkpoint.LayerName(l, x.of)
				if shapes[name] == nil {
					continue // the layer skips this block
				}
				if err := place(x.w, name); err != nil {
					return nil, fmt.Errorf("layer %d: %w", l, err)
				}
			}
			if err := oneType(dev, src, l, block); err != nil {
				return nil, fmt.Errorf("layer %d: %w", l, err)
			}
		}
	}
	if err := place(&m.norm, checkpoint.NormName); err != nil {
		return nil, err
	}
	m.head = m.embed
	if !c.Tied {
		if err := place(&m.head, checkpoint.HeadName); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// part is a weight of a block.
type part struct {
	of checkpoint.Part
	w  *device.Weight
}

// oneType refuses a block of several types on a device that wants one.
func oneType(dev device.Device, src checkpoint.Source, l int, block []part) error {
	d, ok := dev.(device.OneType)
	if !ok {
		return nil
	}
	first, name := *block[0].w, checkpoint.LayerName(l, block[0].of)
	for _, x := range block {
		if *x.w == nil || d.Type(*x.w) == d.Type(first) {
			continue
		}
		file, at := "", checkpoint.LayerName(l, x.of)
		if f, ok := src.(interface{ File(string) string }); ok {
			file = f.File(at) + ": "
		}
		return fmt.Errorf("%s%s: want %v as %s, got %v: %s computes a block in one type", file, at, d.Type(first), name, d.Type(*x.w), dev.Name())
	}
	return nil
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
	n += m.embed.Bytes() / int64(m.Config.Vocab)
	for _, s := range m.Config.Layers {
		n += 2 * int64(m.dev.CacheBytes()) * int64(context) * int64(s.KVHeads) * int64(s.HeadDim)
	}
	return n
}
