package prune

import (
	"encoding/binary"
	"log/slog"
	"math"
	"os"
	"reflect"
	"slices"

	"mop/prune/plan"
	"mop/runtime/model"
)

// A depth step does not change the layers before the removed one, and so neither their
// residual streams nor their scores. A pass over the windows or the prompts stores the
// residual stream in front of one of the model's last layers, and the passes of the
// following models begin there, until a width step changes the layers before it.

// layerPrefix is a cached layer prefix: the residual streams in front of a layer, float32
// [N, D], for all windows or all prompts one after another, in an unnamed file.
type layerPrefix struct {
	layers  []plan.Layer // before that layer
	offsets []int64      // of each sequence in the file, in bytes
	file    *os.File
	scores  *plan.Scores // of the layers before; only for prompts
	failed  bool         // a write failed, so it is not complete
	reads   int          // sequences that have been read
	buffer  []byte       // of one sequence
}

// prefixCache holds the cached layer prefixes of a run.
type prefixCache struct{ windows, prompts []*layerPrefix }

// maxPrefixes is the largest number of prefixes over the windows, and over the prompts:
// those of the current model and of both candidates.
const maxPrefixes = 3

// layersAfterPrefix is the number of a model's L layers that come after its prefix: a
// quarter, so that several depth steps can follow one another, and at least the two
// that are always kept and the one before them.
func layersAfterPrefix(layers int) int { return max(3, layers/4) }

// isPrefixOf reports whether the passes of a state's model can begin at the prefix.
func (p *layerPrefix) isPrefixOf(s plan.State) bool {
	n := len(p.layers)
	return !p.failed && n <= len(s.Layers) && reflect.DeepEqual(p.layers, s.Layers[:n])
}

// keepOnly removes the prefixes that no model after a state can begin at.
func (c *prefixCache) keepOnly(s plan.State) {
	c.remove(func(p *layerPrefix) bool { return !p.isPrefixOf(s) })
}

// clear removes all prefixes.
func (c *prefixCache) clear() { c.remove(func(*layerPrefix) bool { return true }) }

func (c *prefixCache) remove(unused func(*layerPrefix) bool) {
	for _, list := range []*[]*layerPrefix{&c.windows, &c.prompts} {
		*list = slices.DeleteFunc(*list, func(p *layerPrefix) bool {
			if !unused(p) {
				return false
			}
			p.file.Close()
			return true
		})
	}
}

// passPrefixes says where the passes of one model begin.
type passPrefixes struct {
	at     func(sequence int) model.CachedPrefix // nil = all passes begin at the embedding
	prefix *layerPrefix                          // nil with at
}

// scores returns the scores of the layers that the passes leave out, if there are any.
func (p passPrefixes) scores() *plan.Scores {
	if p.prefix == nil {
		return nil
	}
	return p.prefix.scores
}

// setScores stores the scores of the layers before the prefix.
func (p passPrefixes) setScores(all *plan.Scores) {
	if p.prefix == nil {
		return
	}
	n := len(p.prefix.layers)
	p.prefix.scores = &plan.Scores{Heads: all.Heads[:n:n], Neurons: all.Neurons[:n:n]}
}

// windowPrefixes says where the passes of a state's model over the windows begin.
func (r *run) windowPrefixes(s plan.State) passPrefixes {
	lengths := make([]int, len(r.inputs.windows))
	for i, w := range r.inputs.windows {
		lengths[i] = len(w.Tokens)
	}
	return r.findPrefix(&r.prefixes.windows, s, lengths)
}

// promptPrefixes says where the passes of a state's model over the prompts begin.
func (r *run) promptPrefixes(s plan.State) passPrefixes {
	if r.scorer == nil || r.score.Needs().Gradients {
		return passPrefixes{} // no other model is measured on the prompts before the next width step, or by whole passes
	}
	lengths := make([]int, len(r.inputs.prompts))
	for i, p := range r.inputs.prompts {
		lengths[i] = len(p)
	}
	return r.findPrefix(&r.prefixes.prompts, s, lengths)
}

// findPrefix returns a prefix of a state's model that is in the list, or lets the passes
// over sequences of the given lengths store one. If it cannot be stored, the passes begin
// at the embedding.
func (r *run) findPrefix(list *[]*layerPrefix, s plan.State, lengths []int) passPrefixes {
	for _, p := range *list {
		if p.isPrefixOf(s) {
			return passPrefixes{prefix: p, at: func(i int) model.CachedPrefix {
				return model.CachedPrefix{LoadAt: len(p.layers), Load: func(x []float32) error { return p.read(i, x) }}
			}}
		}
	}
	n := len(s.Layers) - layersAfterPrefix(len(s.Layers))
	if n < 1 {
		return passPrefixes{}
	}
	file, err := os.CreateTemp(r.workDir(), "prefix-")
	if err == nil {
		err = os.Remove(file.Name()) // its disk space is freed when it is closed
	}
	if err != nil {
		slog.Debug("layer prefixes are not cached", "error", err)
		return passPrefixes{}
	}
	if len(*list) == maxPrefixes { // no step has removed the unused ones
		(*list)[0].file.Close()
		*list = slices.Delete(*list, 0, 1)
	}
	p := &layerPrefix{layers: s.Layers[:n:n], file: file}
	offset := int64(0)
	for _, tokens := range lengths {
		p.offsets = append(p.offsets, offset)
		offset += prefixBytes(r.base.Config().HiddenSize, tokens)
	}
	*list = append(*list, p)
	return passPrefixes{prefix: p, at: func(i int) model.CachedPrefix {
		if p.failed {
			return model.CachedPrefix{}
		}
		return model.CachedPrefix{StoreAt: n, Store: func(x []float32) error { p.write(i, x); return nil }}
	}}
}

// write stores the residual stream of a sequence, float32 [T, D].
func (p *layerPrefix) write(sequence int, x []float32) {
	p.buffer = p.buffer[:0]
	for _, v := range x {
		p.buffer = binary.LittleEndian.AppendUint32(p.buffer, math.Float32bits(v))
	}
	if _, err := p.file.WriteAt(p.buffer, p.offsets[sequence]); err != nil {
		slog.Debug("layer prefixes are not cached", "error", err)
		p.failed = true
	}
}

// read fills x with the residual stream of a sequence, float32 [T, D].
func (p *layerPrefix) read(sequence int, x []float32) error {
	p.reads++
	p.buffer = slices.Grow(p.buffer[:0], 4*len(x))[:4*len(x)]
	if _, err := p.file.ReadAt(p.buffer, p.offsets[sequence]); err != nil {
		return err
	}
	for j := range x {
		x[j] = math.Float32frombits(binary.LittleEndian.Uint32(p.buffer[4*j:]))
	}
	return nil
}

// prefixBytes is the size of the residual stream of some tokens.
func prefixBytes(dim, tokens int) int64 { return 4 * int64(tokens) * int64(dim) }

// prefixCacheBytes is the most disk space that the prefixes of a run use.
func prefixCacheBytes(dim int, in *inputs) int64 {
	var bytes int64
	for _, w := range in.windows {
		bytes += maxPrefixes * prefixBytes(dim, len(w.Tokens))
	}
	for _, p := range in.prompts {
		bytes += maxPrefixes * prefixBytes(dim, len(p))
	}
	return bytes
}
