package model

import (
	"encoding/binary"
	"fmt"
	"math"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Reference is what a model is compared with: another after its pass, or Kept
// states that one left.
type Reference interface {
	Device() device.Device
	// Hidden gives the final norm's output for the given rows [D], one by one; the
	// slice is valid during the call only.
	Hidden(rows []int, each func(i int, h []float32) error) error
	end() device.LMHead
	vocab() int
}

// CachedStates is the end of a model over residual streams that it left (Residual), with
// neither its layers nor a pass: to compare with it gives the bits that the model
// gives after a Forward.
type CachedStates struct {
	dev        device.Device
	states     []byte        // float32 [N, D], little-endian
	host       []float32     // [rows, D]
	out        []float32     // [n, D], what is handed out
	norm, head device.Weight // [D], [V, D]
	eps        float64
	x          device.Buffer // [rows, D], the present states
	last       device.Buffer // [logitRows, D]
}

// LoadCachedStates places a model's final norm and output projection over the states
// [N, D], float32, which stay on the host. Up to rows of them can be taken at a time. Source and states
// must stay readable while it is used.
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
	computeIn(dev, src)
	place := func(name string) (device.Weight, error) {
		t, err := src.Tensor(name)
		if err != nil {
			return nil, err
		}
		return dev.Place(t, device.PlaceOptions{})
	}
	var err error
	if k.norm, err = place(checkpoint.NormName); err != nil {
		return nil, err
	}
	if k.head, err = place(head); err != nil {
		return nil, err
	}
	k.states, k.host = states.Data, make([]float32, rows*c.HiddenSize)
	if k.x, err = dev.Buffer(rows, c.HiddenSize); err != nil {
		return nil, err
	}
	k.last, err = dev.Buffer(min(logitRows, rows), c.HiddenSize)
	return k, err
}

// Load makes n states from the given one on the present rows 0 .. n-1.
func (k *CachedStates) Load(first, n int) error {
	D := k.x.Cols()
	if all := len(k.states) / (4 * D); first < 0 || n < 1 || n > k.x.Rows() || first+n > all {
		return fmt.Errorf("kept states: want 1 to %d of %d, got %d from %d on", k.x.Rows(), all, n, first)
	}
	from := k.states[4*first*D:]
	for i := range n * D {
		k.host[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
	}
	k.dev.Write(k.x, 0, k.host[:n*D])
	return k.dev.Sync()
}

// Device is where the states are.
func (k *CachedStates) Device() device.Device { return k.dev }

// Hidden is as of a Model.
func (k *CachedStates) Hidden(rows []int, each func(i int, h []float32) error) error {
	return inBatches(k.dev, &k.out, rows, k.x.Cols(), func(part []int) device.Buffer {
		k.dev.Norm(k.last, k.x, part, k.norm, k.eps)
		return k.last
	}, each)
}

func (k *CachedStates) end() device.LMHead {
	return device.LMHead{X: k.x, Norm: k.norm, W: k.head, Eps: k.eps, Phase: device.Prefill}
}

func (k *CachedStates) vocab() int { return k.head.Shape()[0] }

func (m *Model) vocab() int { return m.Config.VocabSize }

// Residual gives the residual stream after the last layer, before the final
// norm, of the first n rows of the last pass: [D] each, one by one. The slice is
// valid during the call only.
func (m *Model) Residual(n int, each func(i int, x []float32) error) error {
	D := m.Config.HiddenSize
	host := make([]float32, logitRows*D)
	for at := 0; at < n; at += logitRows {
		part := min(logitRows, n-at)
		m.dev.Read(host, m.work.final, at, part)
		if err := m.dev.Sync(); err != nil {
			return err
		}
		for i := range part {
			if err := each(at+i, host[i*D:(i+1)*D]); err != nil {
				return err
			}
		}
	}
	return nil
}
