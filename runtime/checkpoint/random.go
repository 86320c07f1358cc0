package checkpoint

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"

	"mop/internal/files"
	"mop/runtime/checkpoint/safetensors"
	"mop/runtime/config"
	"mop/runtime/random"
)

// defaultDeviation is transformers' initializer_range where a config has none.
const defaultDeviation = 0.02

// randomWeights is a Source that generates weights on demand.
type randomWeights struct {
	config *config.Config
	seed   uint64
	dtype  DType
	scale  float32
	output float32 // the scale of a block's last matrix, o_proj or down_proj
	shapes map[string][]int
}

// Random is a source of seeded random weights for a config of any shape. Norms are
// exactly 1. Every other element is random.Uniform of the tensor's name and the
// element's index; its deviation is the config's initializer_range (0.02 where
// absent). Nothing is kept: each call of Tensor generates the tensor again, on all
// cores, in newly allocated memory.
func Random(c *config.Config, seed uint64, d DType) Source {
	std := defaultDeviation
	if r, ok := c.ExtraNumber("initializer_range"); ok && r > 0 {
		std = r
	}
	r := &randomWeights{c, seed, d, random.Scale(std), random.Scale(std), map[string][]int{}}
	for _, info := range ExpectedTensors(c) {
		r.shapes[info.Name] = info.Shape
	}
	return r
}

func (r *randomWeights) Config() *config.Config { return r.config }
func (r *randomWeights) Close() error           { return nil }

func (r *randomWeights) Tensor(name string) (Tensor, error) {
	shape, ok := r.shapes[name]
	if !ok {
		return Tensor{}, fmt.Errorf("random weights: no tensor %s", name)
	}
	n := safetensors.Elements(shape)
	data := make([]byte, n*r.dtype.Size())
	files.Advise(data)
	r.fill(data, name, 0)
	return Tensor{Name: name, DType: r.dtype, Shape: shape, Data: data}, nil
}

// RandomSpec says how a tensor of random weights is generated, so that a device can
// generate it itself. ok is false for constant tensors.
func (r *randomWeights) RandomSpec(name string) (spec RandomSpec, ok bool) {
	shape, known := r.shapes[name]
	if !known || strings.HasSuffix(name, "norm.weight") {
		return spec, false
	}
	return RandomSpec{Name: name, DType: r.dtype, Shape: shape, Key: random.Key(r.seed, name), Scale: r.scale}, true
}

// RandomSpec describes a tensor of random weights: element i is
// random.Uniform(Key, i, Scale), rounded to the type.
type RandomSpec struct {
	Name  string
	DType DType
	Shape []int
	Key   uint64
	Scale float32
}

// Tensor generates the tensor on the host.
func (r RandomSpec) Tensor() Tensor {
	data := make([]byte, safetensors.Elements(r.Shape)*r.DType.Size())
	files.Advise(data)
	fillUniform(data, r.DType, r.Key, 0, r.Scale)
	return Tensor{Name: r.Name, DType: r.DType, Shape: r.Shape, Data: data}
}

// RandomSource is a Source whose tensors a device can generate itself.
type RandomSource interface {
	RandomSpec(name string) (RandomSpec, bool)
}

// fill generates the elements of a tensor from index first on, on all cores.
func (r *randomWeights) fill(data []byte, name string, first int) {
	size := r.dtype.Size()
	n := len(data) / size
	if strings.HasSuffix(name, "norm.weight") {
		for i := range n {
			Encode(data[i*size:], r.dtype, 1)
		}
		return
	}
	key, scale := random.Key(r.seed, name), r.scale
	if strings.HasSuffix(name, "o_proj.weight") || strings.HasSuffix(name, "down_proj.weight") {
		scale = r.output
	}
	fillUniform(data, r.dtype, key, first, scale)
}

// fillUniform writes random numbers of a type, element first+i being
// random.Uniform(key, first+i, scale), on all cores.
func fillUniform(data []byte, d DType, key uint64, first int, scale float32) {
	size := d.Size()
	n := len(data) / size
	fill := [...]func([]byte, uint64, uint64, float32){F32: random.FillF32, F16: random.FillF16, BF16: random.FillBF16}[d]
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		lo, hi := n*w/workers, n*(w+1)/workers
		wg.Go(func() { fill(data[lo*size:hi*size], key, uint64(first+lo), scale) })
	}
	wg.Wait()
}

// WriteRandom saves a model of the given type with the weights that Random
// makes for the same seed, in memory that does not grow with the model.
func WriteRandom(dir string, c *config.Config, seed uint64, d DType, o SaveOptions) error {
	stored := *c
	stored.DType = d.ConfigName()
	return Random(&stored, seed, d).(*randomWeights).write(dir, o)
}

// WriteUntrained is WriteRandom for a model that will be trained. The last matrix of
// each block has 1/sqrt(2L) of the others' deviation, so that the sum of all blocks
// does not grow with the depth.
func WriteUntrained(dir string, c *config.Config, seed uint64, d DType, o SaveOptions) error {
	if v := c.Extra["initializer_range"]; v != nil {
		// Beyond it float16 would have infinities.
		const most = 1e4
		if std, ok := c.ExtraNumber("initializer_range"); !ok || !(std > 0 && std <= most) {
			return fmt.Errorf("initializer_range: want a number above 0, at most %v, got %v", float64(most), v)
		}
	}
	stored := *c
	stored.DType = d.ConfigName()
	r := Random(&stored, seed, d).(*randomWeights)
	r.output /= float32(math.Sqrt(float64(2 * max(1, len(c.Layers)))))
	return r.write(dir, o)
}

// write saves every tensor, one buffer at a time.
func (r *randomWeights) write(dir string, o SaveOptions) error {
	buffer := make([]byte, 8<<20) // bytes, a multiple of every element's
	var specs []TensorSpec
	for _, info := range ExpectedTensors(r.config) {
		specs = append(specs, TensorSpec{Name: info.Name, DType: r.dtype, Shape: info.Shape, Write: func(w Writer) error {
			n, size := safetensors.Elements(info.Shape), r.dtype.Size()
			for at := 0; at < n*size; at += len(buffer) {
				part := buffer[:min(len(buffer), n*size-at)]
				r.fill(part, info.Name, at/size)
				if _, err := w.Write(part); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	return Save(dir, r.config, specs, o)
}
