package prune

import (
	"encoding/binary"
	"log/slog"
	"math"
	"os"
	"reflect"
	"slices"

	"mop/prune/plan"
	"mop/runtime/dataset"
	"mop/runtime/model"
)

// A depth step leaves the layers before it as they are, and with them the residual
// streams there and the scores: what a pass left in front of one of a model's last
// layers is where the passes of the models after it begin, until a width step.

// cachedPrefix is what the passes over the windows or the prompts left: float32 [N, D],
// the sequences one after another, in a file without a name.
type cachedPrefix struct {
	layers []plan.Layer // before it
	starts []int64      // each sequence's first byte
	file   *os.File
	scores *plan.Scores // of those layers; of prompts alone
	broken bool         // not written whole
	given  int          // how often a pass has begun there
	line   []byte       // of one sequence
}

// prefixCache are those at hand.
type prefixCache struct{ windows, prompts []*cachedPrefix }

// laterLayers is how many of L layers lie behind a beginning: a quarter, so that
// some depth steps may follow one another, and at least the two that always stay
// and the one before them.
func laterLayers(layers int) int { return max(3, layers/4) }

// fits says that a model of this state can begin there.
func (b *cachedPrefix) fits(s plan.State) bool {
	n := len(b.layers)
	return !b.broken && n <= len(s.Layers) && reflect.DeepEqual(b.layers, s.Layers[:n])
}

// drop closes those for which gone says so.
func (b *prefixCache) drop(gone func(*cachedPrefix) bool) {
	for _, list := range []*[]*cachedPrefix{&b.windows, &b.prompts} {
		var left []*cachedPrefix
		for _, x := range *list {
			if gone(x) {
				x.file.Close()
			} else {
				left = append(left, x)
			}
		}
		*list = left
	}
}

// settle drops what no model after this one can begin with.
func (b *prefixCache) settle(s plan.State) { b.drop(func(x *cachedPrefix) bool { return !x.fits(s) }) }

// windowPrefix says where the passes of a state's model over the windows begin.
func (r *run) windowPrefix(s plan.State) func(int) model.CachedPrefix {
	lengths := make([]int, len(r.texts.windows))
	for i, w := range r.texts.windows {
		lengths[i] = len(w.Tokens)
	}
	begin, _ := r.begin(&r.prefixes.windows, s, lengths)
	return begin
}

// promptPrefix is beginWindow for the prompts, with the scores that are known; leave
// is to be told all scores in the end.
func (r *run) promptPrefix(s plan.State) (begin func(int) model.CachedPrefix, known *plan.Scores, leave func(*plan.Scores)) {
	if !r.scored() {
		return nil, nil, func(*plan.Scores) {} // nothing is scored between two width steps
	}
	lengths := make([]int, len(r.texts.prompts))
	for i, p := range r.texts.prompts {
		lengths[i] = len(p)
	}
	begin, b := r.begin(&r.prefixes.prompts, s, lengths)
	if b == nil {
		return begin, nil, func(*plan.Scores) {}
	}
	return begin, b.scores, func(all *plan.Scores) {
		n := len(b.layers)
		b.scores = &plan.Scores{Heads: all.Heads[:n:n], Neurons: all.Neurons[:n:n]}
	}
}

// begin finds where passes over sequences of the given lengths begin, or leaves a
// beginning of theirs. What cannot be left is done without.
func (r *run) begin(list *[]*cachedPrefix, s plan.State, lengths []int) (func(int) model.CachedPrefix, *cachedPrefix) {
	for _, b := range *list {
		if b.fits(s) {
			return func(i int) model.CachedPrefix {
				return model.CachedPrefix{From: len(b.layers), Give: func(x []float32) error { return b.read(i, x) }}
			}, b
		}
	}
	n := len(s.Layers) - laterLayers(len(s.Layers))
	if n < 1 {
		return nil, nil
	}
	file, err := os.CreateTemp(r.work(), "begun-")
	if err == nil {
		err = os.Remove(file.Name()) // it is gone when it is closed
	}
	if err != nil {
		slog.Debug("passes are whole", "why", err)
		return nil, nil
	}
	if len(*list) == maxPrefixes { // candidates of steps that nobody settled
		(*list)[0].file.Close()
		*list = slices.Delete(*list, 0, 1)
	}
	b := &cachedPrefix{layers: s.Layers[:n:n], file: file}
	at := int64(0)
	for _, n := range lengths {
		b.starts = append(b.starts, at)
		at += 4 * int64(n) * int64(r.base.Config().HiddenSize)
	}
	*list = append(*list, b)
	return func(i int) model.CachedPrefix {
		if b.broken {
			return model.CachedPrefix{}
		}
		return model.CachedPrefix{At: n, Take: func(x []float32) error { b.write(i, x); return nil }}
	}, b
}

func (b *cachedPrefix) write(i int, x []float32) {
	b.line = b.line[:0]
	for _, v := range x {
		b.line = binary.LittleEndian.AppendUint32(b.line, math.Float32bits(v))
	}
	if _, err := b.file.WriteAt(b.line, b.starts[i]); err != nil {
		slog.Debug("passes are whole", "why", err)
		b.broken = true
	}
}

func (b *cachedPrefix) read(i int, x []float32) error {
	b.given++
	b.line = slices.Grow(b.line[:0], 4*len(x))[:4*len(x)]
	if _, err := b.file.ReadAt(b.line, b.starts[i]); err != nil {
		return err
	}
	for j := range x {
		x[j] = math.Float32frombits(binary.LittleEndian.Uint32(b.line[4*j:]))
	}
	return nil
}

// maxPrefixes is how many there may be over the windows, and over the prompts: the
// present model's and both candidates'.
const maxPrefixes = 3

// prefixBytes is the most that beginnings take on the disk.
func prefixBytes(dim int, windows []dataset.Window, prompts [][]int) (n int64) {
	for _, w := range windows {
		n += 4 * maxPrefixes * int64(len(w.Tokens)) * int64(dim)
	}
	for _, p := range prompts {
		n += 4 * maxPrefixes * int64(len(p)) * int64(dim)
	}
	return n
}
