package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"

	"github.com/x448/float16"

	"mop/runtime/config"
	"mop/runtime/random"
)

// deviation is that of transformers' initializer_range.
const deviation = 0.02

// randomSource generates weights on demand.
type randomSource struct {
	config *config.Config
	seed   uint64
	dtype  DType
	shapes map[string][]int
}

// Random is a source of seeded random weights of any shape; norms are 1. Each
// call of Tensor makes the tensor anew, in anonymous memory.
func Random(c *config.Config, seed uint64, d DType) Source {
	r := &randomSource{c, seed, d, map[string][]int{}}
	for _, info := range Expected(c) {
		r.shapes[info.Name] = info.Shape
	}
	return r
}

func (r *randomSource) Config() *config.Config { return r.config }
func (r *randomSource) Close() error           { return nil }

func (r *randomSource) Tensor(name string) (Tensor, error) {
	shape, ok := r.shapes[name]
	if !ok {
		return Tensor{}, fmt.Errorf("random weights: no tensor %s", name)
	}
	n := 1
	for _, s := range shape {
		n *= s
	}
	data := make([]byte, n*r.dtype.Size())
	at := random.New(r.seed, name, deviation).At
	if strings.HasSuffix(name, "norm.weight") {
		at = func(uint64) float32 { return 1 }
	}
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		lo, hi := n*w/workers, n*(w+1)/workers
		wg.Go(func() { fill(data[lo*r.dtype.Size():hi*r.dtype.Size()], r.dtype, lo, at) })
	}
	wg.Wait()
	return Tensor{Name: name, DType: r.dtype, Shape: shape, Data: data}, nil
}

// fill encodes elements from index lo on.
func fill(data []byte, d DType, lo int, at func(uint64) float32) {
	for i := 0; i*d.Size() < len(data); i++ {
		Encode(data[i*d.Size():], d, at(uint64(lo+i)))
	}
}

// Encode stores x as one element, rounded to nearest, ties to even.
func Encode(dst []byte, d DType, x float32) {
	switch d {
	case F32:
		binary.LittleEndian.PutUint32(dst, math.Float32bits(x))
	case F16:
		binary.LittleEndian.PutUint16(dst, float16.Fromfloat32(x).Bits())
	case BF16:
		b := math.Float32bits(x)
		if b&0x7fffffff > 0x7f800000 {
			b |= 0x00400000 // a NaN stays one when its low bits go
		} else {
			b += 0x7fff + b>>16&1
		}
		binary.LittleEndian.PutUint16(dst, uint16(b>>16))
	}
}
