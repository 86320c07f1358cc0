package sweep

import (
	"fmt"
	"strings"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/open"
	"mop/runtime/random"
)

// weights hands out random weights for models of many shapes, one model at a time. All
// tensors are cut out of one array, so that no numbers are generated anew for each
// model. Within a model no two tensors share memory, and so none is in a cache because
// of another one.
type weights struct {
	dtype checkpoint.DType
	data  []byte
}

// tensorAlign is the alignment of a tensor in bytes, two cache lines.
const tensorAlign = 128

// newWeights makes room for models of up to so many bytes.
func newWeights(seed uint64, dtype checkpoint.DType, bytes int64) *weights {
	n := int(bytes) / dtype.Size()
	spec := checkpoint.RandomSpec{Name: "sweep", DType: dtype, Shape: []int{n}, Key: seed + 1, Scale: random.Scale(0.02)}
	return &weights{dtype, spec.Tensor().Data}
}

// pairOfWeights makes room for two models side by side. They share one array if the device
// copies weights into its own memory, or if the machine has no room for two.
func pairOfWeights(dev device.Device, seed uint64, dtype checkpoint.DType, bytes, besideBytes int64) (own, beside *weights, err error) {
	if dev.Capabilities().HostMemory && open.CheckMemory(dev, "random weights of two models", float64(bytes+besideBytes)) == nil {
		return newWeights(seed, dtype, bytes), newWeights(seed+1, dtype, besideBytes), nil
	}
	if err := open.CheckMemory(dev, "random weights", float64(max(bytes, besideBytes))); err != nil {
		return nil, nil, err
	}
	own = newWeights(seed, dtype, max(bytes, besideBytes))
	return own, own, nil
}

// modelBytes is the room that a model needs.
func modelBytes(c *config.Config, dtype checkpoint.DType) (total int64) {
	for _, info := range checkpoint.ExpectedTensors(c) {
		total += tensorBytes(info, dtype)
	}
	return total
}

func tensorBytes(info checkpoint.TensorInfo, dtype checkpoint.DType) int64 {
	n := int64(dtype.Size())
	for _, d := range info.Shape {
		n *= int64(d)
	}
	return (n + tensorAlign - 1) / tensorAlign * tensorAlign
}

// source is the source of one model's weights.
func (w *weights) source(c *config.Config) (checkpoint.Source, error) {
	s := &slicedSource{config: c, tensors: map[string]checkpoint.Tensor{}}
	at := int64(0)
	for _, info := range checkpoint.ExpectedTensors(c) {
		size := tensorBytes(info, w.dtype)
		t := checkpoint.Tensor{Name: info.Name, DType: w.dtype, Shape: info.Shape}
		n := w.dtype.Size()
		for _, d := range info.Shape {
			n *= d
		}
		if strings.HasSuffix(info.Name, "norm.weight") {
			t.Data = make([]byte, n)
			for i := 0; i < n; i += w.dtype.Size() {
				checkpoint.Encode(t.Data[i:], w.dtype, 1)
			}
		} else {
			if at+int64(n) > int64(len(w.data)) {
				return nil, fmt.Errorf("sweep: %s: want %d bytes of weights, got room for %d", info.Name, at+int64(n), len(w.data))
			}
			t.Data = w.data[at : at+int64(n) : at+int64(n)]
			at += size
		}
		s.tensors[info.Name] = t
	}
	return s, nil
}

// slicedSource is a checkpoint.Source in memory.
type slicedSource struct {
	config  *config.Config
	tensors map[string]checkpoint.Tensor
}

func (s *slicedSource) Config() *config.Config { return s.config }
func (s *slicedSource) Close() error           { return nil }

func (s *slicedSource) Tensor(name string) (checkpoint.Tensor, error) {
	t, ok := s.tensors[name]
	if !ok {
		return t, fmt.Errorf("sweep: no tensor %s", name)
	}
	return t, nil
}
