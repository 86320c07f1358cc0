package score

import (
	"errors"
	"fmt"
	"math"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/model"
)

// weighted is an accumulator whose scores depend on weights as well. Measure calls it
// before the first prompt.
type weighted interface {
	readWeights(src checkpoint.Source) error
}

var errNoWeights = errors.New("the score needs the stored weights: want Calibration.Weights")

// matrix reads a layer's matrix as float32 [rows, cols].
func matrix(src checkpoint.Source, layer int, p checkpoint.Param) (x []float32, cols int, err error) {
	t, err := src.Tensor(checkpoint.LayerName(layer, p))
	if err != nil {
		return nil, 0, err
	}
	if len(t.Shape) != 2 {
		return nil, 0, fmt.Errorf("%s: want a matrix, got %v", t.Name, t.Shape)
	}
	return checkpoint.Float32s(t), t.Shape[1], nil
}

// addColumnSquares adds the squares of every column of x [rows, cols] to sums [cols].
func addColumnSquares(sums []float64, x []float32, cols int) {
	for i, v := range x {
		sums[i%cols] += float64(v) * float64(v)
	}
}

// addRowSquares adds the squares of every row of x [len(sums), cols] to sums.
func addRowSquares(sums []float64, x []float32, cols int) {
	for i, v := range x {
		sums[i/cols] += float64(v) * float64(v)
	}
}

// columns is a number for each input column of o_proj and of down_proj, by layer.
type columns struct{ attention, mlp [][]float64 }

func newColumns(m *model.Model) columns {
	var c columns
	for _, l := range m.Config.Layers {
		c.attention, c.mlp = append(c.attention, make([]float64, l.Heads*l.HeadDim)), append(c.mlp, make([]float64, l.Intermediate))
	}
	return c
}

// squaredNorms are the squared 2-norms of the columns of o_proj and down_proj.
func squaredNorms(m *model.Model, src checkpoint.Source) (columns, error) {
	c := newColumns(m)
	for l := range m.Config.Layers {
		for p, sums := range map[checkpoint.Param][]float64{checkpoint.WO: c.attention[l], checkpoint.WDown: c.mlp[l]} {
			if len(sums) == 0 {
				continue
			}
			x, cols, err := matrix(src, l, p)
			if err != nil {
				return c, err
			}
			addColumnSquares(sums, x, cols)
		}
	}
	return c, nil
}

// moments sums the activations in front of o_proj and down_proj over all positions of all
// prompts, on the host.
type moments struct {
	model        *model.Model
	sum, squares columns
	positions    int
	host         []float32
}

func newMoments(m *model.Model) *moments {
	return &moments{model: m, sum: newColumns(m), squares: newColumns(m)}
}

// Attention sees x, the input of o_proj [n, H*Dh].
func (a *moments) Attention(layer int, x device.Buffer, n int, _ device.Weight, _ device.AttentionShape) {
	a.add(a.sum.attention[layer], a.squares.attention[layer], x, n)
}

// MLP sees mid, the input of down_proj [n, I].
func (a *moments) MLP(layer int, mid device.Buffer, n int) {
	a.add(a.sum.mlp[layer], a.squares.mlp[layer], mid, n)
}

func (a *moments) add(sum, squares []float64, b device.Buffer, n int) {
	cols := len(sum)
	if len(a.host) < n*cols {
		a.host = make([]float32, n*cols)
	}
	x := a.host[:n*cols]
	a.model.Device().Read(x, b, 0, n)
	if a.model.Device().Sync() != nil {
		return // the pass returns the error, which the device keeps
	}
	for i := range n {
		for j, v := range x[i*cols : (i+1)*cols] {
			sum[j] += float64(v)
			squares[j] += float64(v) * float64(v)
		}
	}
}

// EndPrompt counts the positions.
func (a *moments) EndPrompt(tokens int) { a.positions += tokens }

// reduce makes scores of one number per column: a neuron's is that of its column, a head's
// the sum over its columns.
func (a *moments) reduce(of func(mean, meanSquare, norm2 float64) float64, norms columns) *plan.Scores {
	s := zeroScores(a.model)
	n := math.Max(1, float64(a.positions))
	for l, shape := range a.model.Config.Layers {
		for j := range a.sum.attention[l] {
			s.Heads[l][j/shape.HeadDim] += of(a.sum.attention[l][j]/n, a.squares.attention[l][j]/n, norms.attention[l][j])
		}
		for j := range a.sum.mlp[l] {
			s.Neurons[l][j] = of(a.sum.mlp[l][j]/n, a.squares.mlp[l][j]/n, norms.mlp[l][j])
		}
	}
	return s
}
