// Package refit repairs what a width step removes: the kept columns of o_proj and
// down_proj are refitted by least squares, so that with the kept inputs they give the
// outputs that the whole matrix gives with all inputs, on calibration text.
//
// With C = X^T X, the second moments of the dense model's inputs X over the text, the
// kept columns k and the removed ones r, the new weights are
//
//	W'_k = W_k + W_r C_rk (C_kk + damping d I)^-1         d = the mean of C_kk's diagonal
//
// which is ridge regression towards the original columns. The damping of each matrix is the
// one with the smallest error on text that was held out; one of the choices is no refit.
package refit

import (
	"context"
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// heldOut says that every so many-th prompt is held out.
const heldOut = 5

// CheckPrompts refuses fewer prompts than a refit needs.
func CheckPrompts(n int) error {
	if n < heldOut {
		return fmt.Errorf("refit: want at least %d prompts, of which every fifth is held out, got %d", heldOut, n)
	}
	return nil
}

// Matrix is one of the matrices that are refitted.
type Matrix int

// The matrices of a layer.
const (
	Output Matrix = iota // o_proj
	Down                 // down_proj
)

func (m Matrix) String() string { return [...]string{"o_proj", "down_proj"}[m] }

// Moments are the second moments of the inputs of one matrix.
type Moments struct {
	Fit, Held             []float64 // [cols, cols] each, sums over the prompts that are fitted and held out
	FitTokens, HeldTokens int
}

// All are the moments over all prompts, those that are held out included.
func (m *Moments) All() []float64 {
	out := make([]float64, len(m.Fit))
	for i := range out {
		out[i] = m.Fit[i] + m.Held[i]
	}
	return out
}

// Wanted says of which matrices moments are needed, by the layer of the model.
type Wanted map[int]map[Matrix]bool

// Bytes is the memory for the moments of a layer's matrix of so many columns.
func Bytes(cols int) int64 { return 2 * 8 * int64(cols) * int64(cols) }

// Measure runs the dense model over the prompts, and returns the second moments of the
// inputs of the wanted matrices. tick is called after each prompt; it may be nil.
func Measure(ctx context.Context, m *model.Model, prompts [][]int, wanted Wanted, tick func()) (map[int]map[Matrix]*Moments, error) {
	if err := CheckPrompts(len(prompts)); err != nil {
		return nil, err
	}
	longest := 0
	for _, p := range prompts {
		longest = max(longest, len(p))
	}
	cache, err := kvcache.NewWhole(m.Device(), m.Config, longest)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	o := &observer{dev: m.Device(), wanted: wanted, moments: map[int]map[Matrix]*Moments{}}
	defer o.close()
	for i, p := range prompts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		cache.Reset()
		o.held = i%heldOut == heldOut-1
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: p}}, Observer: o}); err != nil {
			return nil, fmt.Errorf("refit: prompt %d: %w", i, err)
		}
		if o.err != nil {
			return nil, fmt.Errorf("refit: prompt %d: %w", i, o.err)
		}
		if tick != nil {
			tick()
		}
	}
	return o.moments, nil
}

// observer adds up the moments of a pass.
type observer struct {
	dev     device.Device
	wanted  Wanted
	moments map[int]map[Matrix]*Moments
	held    bool // the present prompt
	err     error

	host *cpu.Device // sums where the device cannot
	x    []float32
}

func (o *observer) Attention(layer int, a device.Buffer, n int, _ device.Weight, _ device.AttentionShape) {
	o.add(layer, Output, a, n)
}

func (o *observer) MLP(layer int, mid device.Buffer, n int) { o.add(layer, Down, mid, n) }

func (o *observer) add(layer int, which Matrix, x device.Buffer, n int) {
	if !o.wanted[layer][which] || o.err != nil {
		return
	}
	if o.moments[layer] == nil {
		o.moments[layer] = map[Matrix]*Moments{}
	}
	c := x.Cols()
	s := o.moments[layer][which]
	if s == nil {
		s = &Moments{Fit: make([]float64, c*c), Held: make([]float64, c*c)}
		o.moments[layer][which] = s
	}
	sums := s.Fit
	if o.held {
		sums = s.Held
		s.HeldTokens += n
	} else {
		s.FitTokens += n
	}
	if d, ok := o.dev.(device.SecondMoments); ok {
		d.SecondMoments(sums, x, n)
		return
	}
	o.err = o.onHost(sums, x, n)
}

// onHost copies the activations to the host and sums there.
func (o *observer) onHost(sums []float64, x device.Buffer, n int) (err error) {
	c := x.Cols()
	if o.host == nil {
		if o.host, err = cpu.New(0); err != nil {
			return err
		}
	}
	if len(o.x) < n*c {
		o.x = make([]float32, n*c)
	}
	o.dev.Read(o.x[:n*c], x, 0, n)
	if err := o.dev.Sync(); err != nil {
		return err
	}
	in, err := o.host.Buffer(n, c)
	if err != nil {
		return err
	}
	defer in.Free()
	o.host.Write(in, 0, o.x[:n*c])
	o.host.SecondMoments(sums, in, n)
	return o.host.Sync()
}

func (o *observer) close() error {
	if o.host == nil {
		return nil
	}
	return errors.Join(o.host.Close())
}
