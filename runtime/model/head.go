package model

import (
	"fmt"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Head is the output projection alone, over hidden states that were kept: it
// gives the bits that Logits gave when Hidden gave those states of a Forward.
type Head struct {
	dev    device.Device
	states device.Weight // [N, D]
	head   device.Weight // [V, D]
	rows   device.Buffer // [logitRows, D]
	logits device.Buffer // [logitRows, V]
}

// LoadHead places a model's output projection and the states [N, D], float32,
// what Hidden gave. Both must stay readable while the head is used.
func LoadHead(dev device.Device, src checkpoint.Source, states checkpoint.Tensor) (*Head, error) {
	c := src.Config()
	if len(states.Shape) != 2 || states.Shape[1] != c.Dim || states.DType != checkpoint.F32 {
		return nil, fmt.Errorf("%s: want F32 [N %d], got %v %v", states.Name, c.Dim, states.DType, states.Shape)
	}
	name := checkpoint.HeadName
	if c.Tied {
		name = checkpoint.EmbedName
	}
	t, err := src.Tensor(name)
	if err != nil {
		return nil, err
	}
	h := &Head{dev: dev}
	for _, p := range []struct {
		to *device.Weight
		t  checkpoint.Tensor
	}{{&h.states, states}, {&h.head, t}} {
		if *p.to, err = dev.Place(p.t); err != nil {
			return nil, err
		}
	}
	if h.rows, err = dev.Buffer(logitRows, c.Dim); err != nil {
		return nil, err
	}
	h.logits, err = dev.Buffer(logitRows, c.Vocab)
	return h, err
}

// Logits gives the logits of the given states to each, one by one; the slice [V]
// is valid during the call only.
func (h *Head) Logits(states []int, each func(i int, logits []float32) error) error {
	return inParts(h.dev, states, h.logits.Cols(), func(part []int) device.Buffer {
		h.dev.Embed(h.rows, h.states, part)
		h.dev.Linear(device.Prefill, h.logits, h.rows, len(part), h.head)
		return h.logits
	}, each)
}
