package model_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// The logits have the same bits if the tokens come at once, one by one, in two chunks,
// in a batch with another sequence, or on another number of threads.
func TestBitsDoNotDependOnChunks(t *testing.T) {
	for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		src := checkpoint.Random(oddShapes(), 3, dt)
		m := load(t, src, 3)
		rng := rand.New(rand.NewPCG(5, 6))
		tokens, other := make([]int, 120), make([]int, 70) // longer than a block of attention
		for i := range tokens {
			tokens[i] = rng.IntN(101)
		}
		for i := range other {
			other[i] = rng.IntN(101)
		}
		whole := logits(t, m, 1, []model.Chunk{{Slot: 0, Tokens: tokens}})
		var steps [][]model.Chunk
		for i := range tokens {
			steps = append(steps, []model.Chunk{{Slot: 0, Tokens: tokens[i : i+1]}})
		}
		same(t, "one by one", whole, logits(t, m, 1, steps...))
		same(t, "in two", whole, logits(t, m, 1, []model.Chunk{{Slot: 0, Tokens: tokens[:50]}}, []model.Chunk{{Slot: 0, Tokens: tokens[50:]}}))
		both := logits(t, m, 3, []model.Chunk{{Slot: 2, Tokens: other}, {Slot: 0, Tokens: tokens}})
		same(t, "in a batch", whole, both[len(other):])
		same(t, "one thread", whole, logits(t, load(t, src, 1), 1, []model.Chunk{{Slot: 0, Tokens: tokens}}))
		if whole[0][0] == whole[5][0] {
			t.Fatal("the logits do not depend on the tokens")
		}
	}
}

// A pass with LastOnly has the bits of a whole pass, and so have the passes after it:
// with long and short chunks, several at once, chunks that continue a sequence, and
// last layers that lack either block.
func TestLastOnly(t *testing.T) {
	for _, layers := range []int{1, 2, 3, 5} {
		c := oddShapes()
		c.Layers = c.Layers[:layers]
		if layers == 1 {
			c.Layers = []config.LayerShape{{HeadDim: 6, Intermediate: 9}, {HeadDim: 6, Intermediate: 5}} // no attention at all
		}
		m := load(t, checkpoint.Random(c, 3, checkpoint.BF16), 2)
		tokens := make([]int, 100)
		for i := range tokens {
			tokens[i] = i * i % 101
		}
		passes := [][]model.Chunk{
			{{Slot: 0, Tokens: tokens[:50]}},
			{{Slot: 2, Tokens: tokens[:70]}, {Slot: 1}, {Slot: 0, Tokens: tokens[50:60]}},
			{{Slot: 1, Tokens: tokens[:3]}, {Slot: 2, Tokens: tokens[70:73]}},
		}
		want := logits(t, m, 3, passes...)
		cache, err := kvcache.NewSequences(m.Device(), m.Config, 3, 128)
		if err != nil {
			t.Fatal(err)
		}
		first := 0
		for i, chunks := range passes {
			if err := m.Forward(model.Pass{Cache: cache, Chunks: chunks, LastOnly: true}); err != nil {
				t.Fatal(err)
			}
			var rows []int
			for _, c := range chunks {
				if len(c.Tokens) > 0 {
					rows = append(rows, len(rows))
				}
			}
			var got, last [][]float32
			if err := m.Logits(rows, func(_ int, z []float32) error {
				got = append(got, append([]float32(nil), z...))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			for _, c := range chunks {
				if first += len(c.Tokens); len(c.Tokens) > 0 {
					last = append(last, want[first-1])
				}
			}
			same(t, fmt.Sprintf("%d layers, pass %d", layers, i), last, got)
		}
	}
}

// A refused pass leaves the cache as it was.
func TestForwardRefusesTokens(t *testing.T) {
	m := load(t, checkpoint.Random(oddShapes(), 3, checkpoint.F32), 1)
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, 8)
	if err != nil {
		t.Fatal(err)
	}
	for _, tokens := range [][]int{{-1}, {101}, {}, make([]int, 9)} {
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens}}}); err == nil {
			t.Errorf("%v: want an error", tokens)
		}
	}
	if cache.Len(0) != 0 {
		t.Errorf("refused tokens left %d positions in the cache", cache.Len(0))
	}
}

// fullDevice is a device on which one allocation fails for lack of memory.
type fullDevice struct {
	device.Device
	failCols int // the next buffer of so many columns fails
}

func (d *fullDevice) Buffer(rows, cols int) (device.Buffer, error) {
	if cols == d.failCols {
		d.failCols = 0
		return nil, device.ErrMemory
	}
	return d.Device.Buffer(rows, cols)
}

// A pass for whose activations there is no memory says so, and the model can be used
// afterwards.
func TestForwardAfterMemoryIsExhausted(t *testing.T) {
	c := oddShapes()
	src := checkpoint.Random(c, 3, checkpoint.F32)
	chunks := []model.Chunk{{Tokens: []int{5, 99, 3}}}
	want := logits(t, load(t, src, 1), 1, chunks)
	for _, cols := range []int{c.HiddenSize, c.VocabSize} {
		dev, err := cpu.New(1)
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		full := &fullDevice{Device: dev}
		m, err := model.Load(full, src)
		if err != nil {
			t.Fatal(err)
		}
		cache, err := kvcache.NewSequences(full, c, 1, 8)
		if err != nil {
			t.Fatal(err)
		}
		full.failCols = cols
		if err := m.Forward(model.Pass{Cache: cache, Chunks: chunks}); !errors.Is(err, device.ErrMemory) {
			t.Errorf("buffer of %d columns: want ErrMemory, got %v", cols, err)
		}
		same(t, "after the failure", want, logits(t, m, 1, chunks))
	}
}
