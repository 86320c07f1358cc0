package model

import (
	"errors"
	"fmt"
	"slices"

	"mop/runtime/device"
	"mop/runtime/kvcache"
)

// Errors that callers branch on.
var (
	ErrVocabulary = errors.New("token outside the vocabulary")
	ErrContext    = errors.New("longer than the context")
)

// Chunk is a run of consecutive tokens of one sequence. They follow the positions that the
// cache already holds of it.
type Chunk struct {
	Slot   int
	Tokens []int

	// Embeddings replace those of some of the tokens, which must be in the vocabulary
	// nevertheless.
	Embeddings []Embeddings
}

// Embeddings are rows of the residual stream that are computed elsewhere, such as those
// of an image: the input of consecutive tokens.
type Embeddings struct {
	At   int       // of the first row's token, in Chunk.Tokens or in a prompt
	Rows []float32 // [n, D]
}

// SliceEmbeddings are the embeddings of tokens from..to-1 of a prompt, as those of a chunk
// that begins there; hidden is D.
func SliceEmbeddings(all []Embeddings, from, to, hidden int) []Embeddings {
	var out []Embeddings
	for _, e := range all {
		first, end := max(e.At, from), min(e.At+len(e.Rows)/hidden, to)
		if first < end {
			out = append(out, Embeddings{first - from, e.Rows[(first-e.At)*hidden : (end-e.At)*hidden]})
		}
	}
	return out
}

// Pass is one run of some tokens through the layers.
type Pass struct {
	Phase    device.Phase // Prefill unless it is set
	Cache    *kvcache.Cache
	Chunks   []Chunk // at most one for each sequence
	Observer Observer
	Prefix   CachedPrefix

	// LastOnly computes the outputs of the last token of each chunk only: row i is
	// that of the i-th chunk that has tokens. The keys and values of all tokens go to
	// the cache. The bits are those of a whole pass. It excludes Observer and Prefix.
	LastOnly bool
}

// Observer sees each layer's inner activations during a pass: the input of the output
// projection, a [n, H*Dh], and that of the down projection, mid [n, I]. A call is left
// out if the layer lacks the block.
type Observer interface {
	Attention(layer int, a device.Buffer, n int, wo device.Weight, shape device.AttentionShape)
	MLP(layer int, mid device.Buffer, n int)
}

// ResidualObserver is an Observer that also sees the residual stream, x [n, D], in front of
// each layer and behind the last one, which has the number L.
type ResidualObserver interface {
	Observer
	Residual(layer int, x device.Buffer, n int)
}

// LongPrompt is the number of tokens from which LastOnly computes fewer rows in the
// last layers. Below it, reading the weights takes most of the time, and leaving out
// rows would save nothing.
const LongPrompt = 32

// workspace holds the activations. It is grown to the largest pass and reused.
type workspace struct {
	rows   int             // capacity N
	x      device.Buffer   // [N, D] residual stream
	tail   device.Buffer   // [chunks, D] residual stream of each chunk's last token
	final  device.Buffer   // x or tail: the rows that the last pass ended with
	q, a   []device.Buffer // by layer, [N, H*Dh]
	mid    []device.Buffer // by layer, [N, I]
	last   device.Buffer   // [logitRows, D]
	logits device.Buffer   // [logitRows, V]

	prefix []float32     // [n, D] copy of x on the host
	out    []float32     // [n, V] or [n, D] copy of what is handed to a callback
	tokens []int         // [n] of the pass
	given  []Embeddings  // of the pass, by its rows
	spans  []device.Span // of the pass
	seen   []bool        // by slot: the pass has a chunk of it
}

// Forward runs a pass and appends its positions to the cache. Logits, Hidden, NLL and
// CompareLogits then refer to its rows: the tokens of all chunks in order, or the last
// token of each chunk. They stay valid until the next pass.
func (m *Model) Forward(p Pass) error {
	if err := m.checkPass(p); err != nil {
		return err
	}
	if err := m.checkEmbeddings(p.Chunks); err != nil {
		return err
	}
	tokens, spans, err := m.layOut(p.Cache, p.Chunks)
	if err != nil {
		return err
	}
	if err := m.reserve(len(tokens)); err != nil {
		return err
	}
	for _, s := range spans {
		if err := p.Cache.Reserve(s.Slot, s.Start+s.Len); err != nil {
			return err
		}
	}
	m.phase, m.work.final = p.Phase, m.work.x
	if err := m.queuePass(p, tokens, spans); err != nil {
		return err
	}
	if err := m.dev.Sync(); err != nil {
		return err
	}
	for _, c := range p.Chunks {
		p.Cache.Append(c.Slot, len(c.Tokens))
	}
	return nil
}

func (m *Model) checkPass(p Pass) error {
	if p.LastOnly && (p.Observer != nil || p.Prefix.LoadAt > 0 || p.Prefix.Store != nil) {
		return errors.New("a pass of last tokens only: want no observer and no cached prefix")
	}
	return p.Prefix.check(len(m.weights.Layers), p.Cache)
}

// checkEmbeddings refuses embeddings that do not belong to the tokens of their chunk.
func (m *Model) checkEmbeddings(chunks []Chunk) error {
	D := m.Config.HiddenSize
	for _, c := range chunks {
		for _, e := range c.Embeddings {
			if n := len(e.Rows) / D; len(e.Rows)%D != 0 || e.At < 0 || e.At+n > len(c.Tokens) {
				return fmt.Errorf("slot %d: embeddings of tokens %d to %d: want rows of %d numbers for some of %d tokens, got %d numbers", c.Slot, e.At, e.At+n, D, len(c.Tokens), len(e.Rows))
			}
		}
	}
	return nil
}

// queuePass queues the operations of a pass over the rows of x.
func (m *Model) queuePass(p Pass, tokens []int, spans []device.Span) error {
	r := passRows{phase: p.Phase, cache: p.Cache, x: m.work.x, n: len(tokens), spans: spans, given: m.work.given, observer: p.Observer}
	switch {
	case p.LastOnly:
		return m.runLastOnly(r, tokens)
	case p.Prefix.LoadAt > 0 || p.Prefix.Store != nil:
		return m.runWithPrefix(r, tokens, p.Prefix)
	default:
		m.run(r, tokens)
		return nil
	}
}

// runLastOnly queues a pass that ends with the last row of each span, in tail. Up to
// the last layer with attention, whose keys and values all tokens need, the pass
// computes all rows; from there on it computes the last ones.
func (m *Model) runLastOnly(r passRows, tokens []int) error {
	w, layers := &m.work, m.weights.Layers
	if w.tail == nil || w.tail.Rows() < len(r.spans) {
		tail, err := m.dev.Buffer(len(r.spans), m.Config.HiddenSize)
		if err != nil {
			return fmt.Errorf("activations of %d chunks: %w", len(r.spans), err)
		}
		freeBuffers(w.tail)
		w.tail = tail
	}
	cut := m.Config.LastAttention()
	if r.n < LongPrompt {
		cut = len(layers)
	}
	m.embed(r, tokens)
	m.runLayers(r, 0, cut)
	if cut < len(layers) && layers[cut].Shape.Heads > 0 {
		m.qkv(cut, r)
	}
	lastRows, lastSpans := make([]int, len(r.spans)), make([]device.Span, len(r.spans))
	for i, s := range r.spans {
		lastRows[i] = s.Row + s.Len - 1
		lastSpans[i] = device.Span{Slot: s.Slot, Start: s.Start + s.Len - 1, Row: i, Len: 1}
	}
	m.dev.Gather(w.tail, r.x, lastRows)
	w.final = w.tail
	r.x, r.n, r.spans = w.tail, len(lastSpans), lastSpans
	m.runLayers(r, cut, len(layers))
	return nil
}

// layOut checks the chunks and places them one after another in the rows of a pass. It
// returns the tokens of all rows and the spans of the chunks that have tokens, valid
// until the next call.
func (m *Model) layOut(cache *kvcache.Cache, chunks []Chunk) (tokens []int, spans []device.Span, err error) {
	w := &m.work
	w.seen = slices.Grow(w.seen[:0], cache.Slots())[:cache.Slots()]
	clear(w.seen)
	tokens, spans = w.tokens[:0], w.spans[:0]
	w.given = w.given[:0]
	for _, c := range chunks {
		if !cache.Allocated(c.Slot) || w.seen[c.Slot] {
			return nil, nil, fmt.Errorf("slot %d: want each of the cache's sequences at most once, of %d slots", c.Slot, cache.Slots())
		}
		w.seen[c.Slot] = true
		for i, token := range c.Tokens {
			if token < 0 || token >= m.Config.VocabSize {
				return nil, nil, fmt.Errorf("token %d at position %d: %w of %d", token, cache.Len(c.Slot)+i, ErrVocabulary, m.Config.VocabSize)
			}
		}
		start := cache.Len(c.Slot)
		if cache.WholePasses && start > 0 {
			return nil, nil, errors.New("a cache for whole passes holds no earlier positions: reset it first")
		}
		if limit := min(cache.MaxPositions, m.Config.MaxPositions); start+len(c.Tokens) > limit {
			return nil, nil, fmt.Errorf("%d tokens: %w of %d", start+len(c.Tokens), ErrContext, limit)
		}
		if len(c.Tokens) > 0 {
			for _, e := range c.Embeddings {
				w.given = append(w.given, Embeddings{len(tokens) + e.At, e.Rows})
			}
			spans = append(spans, device.Span{Slot: c.Slot, Start: start, Row: len(tokens), Len: len(c.Tokens)})
			tokens = append(tokens, c.Tokens...)
		}
	}
	if len(tokens) == 0 {
		return nil, nil, errors.New("no tokens to run")
	}
	w.tokens, w.spans = tokens, spans
	return tokens, spans, nil
}

// reserve makes the activations large enough for n rows.
func (m *Model) reserve(n int) error {
	w := &m.work
	if n <= w.rows {
		return nil
	}
	w.freeRows()
	var err error
	buffer := func(rows, cols int) (b device.Buffer) {
		if err == nil {
			b, err = m.dev.Buffer(rows, cols)
		}
		return b
	}
	activations := func(cols []int) (b []device.Buffer) {
		if err == nil {
			b, err = m.dev.Activations(n, cols)
		}
		return b
	}
	var heads, mlp []int // sizes by layer
	for _, s := range m.Config.Layers {
		heads, mlp = append(heads, s.Heads*s.HeadDim), append(mlp, s.Intermediate)
	}
	w.x = buffer(n, m.Config.HiddenSize)
	w.q, w.a, w.mid = activations(heads), activations(heads), activations(mlp)
	if w.last == nil {
		w.last = buffer(logitRows, m.Config.HiddenSize)
	}
	if w.logits == nil {
		w.logits = buffer(logitRows, m.Config.VocabSize)
	}
	if err != nil {
		w.freeRows()
		return fmt.Errorf("activations of %d tokens: %w", n, err)
	}
	w.rows = n
	return nil
}
