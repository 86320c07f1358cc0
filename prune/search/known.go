package search

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"mop/internal/journal"
	"mop/runtime/config"
	"mop/runtime/predict"
)

// BlockLosses are what a search measured about single blocks. With them, shapes of little
// loss follow for any wanted time without running a model.
type BlockLosses struct {
	grid
	losses *losses
}

// ReadLosses reads the losses that searches in an output directory share. base is their
// dense model.
func ReadLosses(out string, base *config.Config) (*BlockLosses, error) {
	path := filepath.Join(out, sharedDir, lossesFile)
	records, identity, err := journal.Read[valueLine](path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: want the output directory of mop search, got none of its losses", out)
	} else if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for _, x := range records {
		values[x.Name] = x.Value
	}
	b := &BlockLosses{grid: grid{layers: base.Layers}}
	if b.levels, err = strconv.Atoi(identity["levels"]); err != nil || b.levels < 2 {
		return nil, fmt.Errorf("%s: levels: want a number of at least 2, got %q", path, identity["levels"])
	}
	if b.losses, err = b.lossesOf(values); err != nil {
		return nil, fmt.Errorf("%s: %w: was it measured on another model, or was the search stopped?", path, err)
	}
	return b, nil
}

// Sum adds up the losses of the blocks of a pruned model, of whose layers from are those of
// the base. Layers of the base that are not among them count as left out.
func (b *BlockLosses) Sum(from []int, shapes []config.LayerShape) float64 {
	kept := map[int]config.LayerShape{}
	for i, l := range from {
		kept[l] = shapes[i]
	}
	sum := 0.0
	for l, base := range b.layers {
		s := kept[l]
		sum += b.losses.attention[l][min(s.KVHeads, base.KVHeads)]
		if base.Intermediate == 0 {
			continue
		}
		at := float64(s.Intermediate) / float64(base.Intermediate) * float64(b.levels)
		low := min(int(at), b.levels-1)
		loss := b.losses.mlp[l]
		sum += loss[low] + (at-float64(low))*(loss[low+1]-loss[low])
	}
	return sum
}

// Within returns the shapes with the least sum of losses whose predicted time is at most
// ms, and nil where none are so fast. Attention is kept where a search keeps it.
func (b *BlockLosses) Within(p *predict.Predictor, ms float64) []config.LayerShape {
	k := predictedCost(p)
	g, err := b.divide(b.losses, k, ms/k.total(b.layers), b.keepsAttention("auto"))
	if err != nil {
		return nil
	}
	return b.shapes(g)
}

// Fastest returns the fastest shapes whose sum of losses is at most the given one, by
// bisection over the time. It returns nil where none are faster than ms.
func (b *BlockLosses) Fastest(p *predict.Predictor, loss, ms float64) []config.LayerShape {
	all := make([]int, len(b.layers))
	for l := range all {
		all[l] = l
	}
	var best []config.LayerShape
	for low, high := 0.0, ms; high-low > 1e-3*ms; {
		middle := (low + high) / 2
		if s := b.Within(p, middle); s != nil && b.Sum(all, s) <= loss {
			best, high = s, middle
		} else {
			low = middle
		}
	}
	return best
}
