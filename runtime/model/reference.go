package model

import (
	"encoding/binary"
	"fmt"
	"math"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Reference is what a model is compared with: another model after a pass, or the
// cached states of one.
type Reference interface {
	Device() device.Device
	// Hidden calls each with the output of the final norm [D] for the given rows, one
	// by one. The slice is valid during the call only.
	Hidden(rows []int, each func(i int, h []float32) error) error
	lmHead() device.LMHead
	vocabSize() int
}

// CachedStates is a reference made of residual streams that a model's passes left (see
// Residual) and that model's LM head. Comparisons have the bits of those with the
// model after Forward.
type CachedStates struct {
	dev        device.Device
	states     []byte        // float32 [N, D], little-endian
	host       []float32     // [rows, D]
	out        []float32     // [n, D] copy of what is handed to a callback
	norm, head device.Weight // [D], [V, D]
	eps        float64
	x          device.Buffer // [rows, D], the loaded states
	last       device.Buffer // [logitRows, D]
}

// LoadCachedStates places a model's final norm and output projection on the device.
// The states [N, D], float32, stay on the host; up to rows of them are loaded at a
// time. Source and states must stay readable while the result is used.
func LoadCachedStates(dev device.Device, src checkpoint.Source, states checkpoint.Tensor, rows int) (*CachedStates, error) {
	c := src.Config()
	if len(states.Shape) != 2 || states.Shape[1] != c.HiddenSize || states.DType != checkpoint.F32 {
		return nil, fmt.Errorf("%s: want F32 [N %d], got %v %v", states.Name, c.HiddenSize, states.DType, states.Shape)
	}
	k := &CachedStates{dev: dev, eps: c.NormEps}
	head := checkpoint.HeadName
	if c.Tied {
		head = checkpoint.EmbedName
	}
	setComputeType(dev, src)
	place := func(name string) (device.Weight, error) {
		t, err := src.Tensor(name)
		if err != nil {
			return nil, err
		}
		return dev.Place(t, device.PlaceOptions{})
	}
	var err error
	k.norm, err = place(checkpoint.NormName)
	if err == nil {
		k.head, err = place(head)
	}
	if err == nil {
		k.x, err = dev.Buffer(rows, c.HiddenSize)
	}
	if err == nil {
		k.last, err = dev.Buffer(min(logitRows, rows), c.HiddenSize)
	}
	if err != nil {
		k.Close()
		return nil, err
	}
	k.states, k.host = states.Data, make([]float32, rows*c.HiddenSize)
	return k, nil
}

// Load makes states first .. first+n-1 the rows 0 .. n-1 of the reference.
func (k *CachedStates) Load(first, n int) error {
	D := k.x.Cols()
	if all := len(k.states) / (4 * D); first < 0 || n < 1 || n > k.x.Rows() || first+n > all {
		return fmt.Errorf("cached reference states: want 1 to %d of %d, got %d starting at %d", k.x.Rows(), all, n, first)
	}
	from := k.states[4*first*D:]
	for i := range n * D {
		k.host[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
	}
	k.dev.Write(k.x, 0, k.host[:n*D])
	return k.dev.Sync()
}

// Device returns the device that holds the states.
func (k *CachedStates) Device() device.Device { return k.dev }

// Hidden is Reference.Hidden.
func (k *CachedStates) Hidden(rows []int, each func(i int, h []float32) error) error {
	return readInBatches(k.dev, &k.out, rows, k.x.Cols(), func(batch []int) device.Buffer {
		k.dev.Norm(k.last, k.x, batch, k.norm, k.eps)
		return k.last
	}, each)
}

func (k *CachedStates) lmHead() device.LMHead {
	return device.LMHead{X: k.x, Norm: k.norm, W: k.head, Eps: k.eps, Phase: device.Prefill}
}

func (k *CachedStates) vocabSize() int { return k.head.Shape()[0] }
