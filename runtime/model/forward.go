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
	ErrVocabulary = errors.New("id outside the vocabulary")
	ErrContext    = errors.New("longer than the context")
)

// Chunk is some consecutive ids of one cache sequence, following what the cache
// holds of it already.
type Chunk struct {
	Seq    int
	Tokens []int
}

// Observer sees each layer's inner activations during a forward pass: a is the
// input of the output projection [n, H*Dh], mid that of the down projection
// [n, I]. Either call is left out where the layer skips the block.
type Observer interface {
	Attention(layer int, a device.Buffer, n int, wo device.Weight, hs device.AttentionShape)
	MLP(layer int, mid device.Buffer, n int)
}

// workspace holds the activations, grown to the largest pass and kept.
type workspace struct {
	rows   int
	x      device.Buffer   // [N, D] residual stream
	tail   device.Buffer   // [chunks, D] that of the last ids, in the last layers
	final  device.Buffer   // what the last pass ended with: x, or tail
	q, a   []device.Buffer // [N, H*Dh] of each layer
	mid    []device.Buffer // [N, I] of each layer
	last   device.Buffer   // [logitRows, D]
	logits device.Buffer   // [logitRows, V]
	host   []float32       // [n, D] of a beginning
	out    []float32       // [n, V] or [n, D], what is handed out
	ids    []int           // [n] of the pass
	spans  []device.Span   // of the pass
	seen   []bool          // [sequences]
}

// logitRows is how many positions' logits are formed at a time: [T, V] never
// exists for long texts.
const logitRows = 16

// Forward runs the chunks through all layers, as prefill, and appends their
// positions to the cache. The hidden states of the chunks' ids, in order, are
// then at hand for Logits until the next call. obs may be nil.
func (m *Model) Forward(cache *kvcache.Cache, chunks []Chunk, obs Observer) error {
	return m.pass(device.Prefill, cache, chunks, obs, CachedPrefix{})
}

// Decode is Forward with the kernels for generation, of few ids at a time.
func (m *Model) Decode(cache *kvcache.Cache, chunks []Chunk) error {
	return m.pass(device.Decode, cache, chunks, nil, CachedPrefix{})
}

// ForwardLast is Forward of which only the chunks' last ids are wanted: their rows,
// which Logits takes next, come back in the order of the chunks that have ids. Their
// bits are those of Forward. The other ids leave keys and values in the last layer
// with attention, and go no further.
func (m *Model) ForwardLast(cache *kvcache.Cache, chunks []Chunk) (rows []int, err error) {
	err = m.within(device.Prefill, cache, chunks, func(ids []int, spans []device.Span) error {
		m.dev.Embed(m.work.x, m.embed, ids)
		if len(ids) < longPrompt {
			m.run(device.Prefill, cache, m.work.x, len(ids), spans, nil, 0, len(m.layers))
			for _, s := range spans {
				rows = append(rows, s.Row+s.Len-1)
			}
			return nil
		}
		for i := range spans {
			rows = append(rows, i)
		}
		return m.runLast(cache, len(ids), spans)
	})
	return rows, err
}

// longPrompt is from how many ids on ForwardLast leaves some out. Fewer take no longer
// than one: the time is that of their weights.
const longPrompt = 32

func (m *Model) pass(kind device.Phase, cache *kvcache.Cache, chunks []Chunk, obs Observer, b CachedPrefix) error {
	return m.within(kind, cache, chunks, func(ids []int, spans []device.Span) error {
		n := len(ids)
		if b.From == 0 {
			m.dev.Embed(m.work.x, m.embed, ids)
		} else if err := m.give(b, n); err != nil {
			return err
		}
		from := b.From
		if b.Take != nil {
			m.run(kind, cache, m.work.x, n, spans, obs, from, b.At)
			if err := m.take(b, n); err != nil {
				return err
			}
			from = b.At
		}
		m.run(kind, cache, m.work.x, n, spans, obs, from, len(m.layers))
		return nil
	})
}

// within does a pass of the chunks' ids over all layers, which queue queues.
func (m *Model) within(kind device.Phase, cache *kvcache.Cache, chunks []Chunk, queue func(ids []int, spans []device.Span) error) error {
	ids, spans, err := m.check(cache, chunks)
	if err != nil {
		return err
	}
	if err := m.reserve(len(ids)); err != nil {
		return err
	}
	for _, s := range spans {
		if err := cache.Extend(s.Seq, s.Start+s.Len); err != nil {
			return err
		}
	}
	m.kind, m.work.final = kind, m.work.x
	if err := queue(ids, spans); err != nil {
		return err
	}
	if err := m.dev.Sync(); err != nil {
		return err
	}
	for _, c := range chunks {
		cache.Len[c.Seq] += len(c.Tokens)
	}
	return nil
}

// layersOf queues a pass from the embedding to the last layer's end.
func (m *Model) layersOf(kind device.Phase, cache *kvcache.Cache, ids []int, spans []device.Span, obs Observer) {
	m.work.final = m.work.x
	m.dev.Embed(m.work.x, m.embed, ids)
	m.run(kind, cache, m.work.x, len(ids), spans, obs, 0, len(m.layers))
}

// runLast queues a prefill pass through all layers. From the last one with attention
// on, only the spans' last rows go on, in tail, which becomes what the pass ends with.
func (m *Model) runLast(cache *kvcache.Cache, n int, spans []device.Span) error {
	w := &m.work
	if w.tail == nil || w.tail.Rows() < len(spans) {
		b, err := m.dev.Buffer(len(spans), m.Config.HiddenSize)
		if err != nil {
			return fmt.Errorf("activations of %d chunks: %w", len(spans), err)
		}
		w.tail = b
	}
	cut := m.Config.LastAttention()
	m.run(device.Prefill, cache, w.x, n, spans, nil, 0, cut)
	if y := &m.layers[cut]; y.shape.Heads > 0 {
		q := w.q[cut]
		m.dev.QKV(device.Prefill, q, cache.Layers[cut], w.x, y.attnNorm, y.wq, y.wk, y.wv, m.Config.NormEps, y.heads(), m.rope, spans)
	}
	rows, last := make([]int, len(spans)), make([]device.Span, len(spans))
	for i, s := range spans {
		rows[i] = s.Row + s.Len - 1
		last[i] = device.Span{Seq: s.Seq, Start: s.Start + s.Len - 1, Row: i, Len: 1}
	}
	m.dev.Gather(w.tail, w.x, rows)
	w.final = w.tail
	m.run(device.Prefill, cache, w.tail, len(spans), last, nil, cut, len(m.layers))
	return nil
}

// run queues a pass of n rows x through the layers from..to-1.
func (m *Model) run(kind device.Phase, cache *kvcache.Cache, x device.Buffer, n int, spans []device.Span, obs Observer, from, to int) {
	d, eps := m.dev, m.Config.NormEps
	for l := from; l < to; l++ {
		y := &m.layers[l]
		if y.shape.Heads > 0 {
			hs := y.heads()
			q, a, kv := m.work.q[l], m.work.a[l], cache.Layers[l]
			d.QKV(kind, q, kv, x, y.attnNorm, y.wq, y.wk, y.wv, eps, hs, m.rope, spans)
			d.Attention(kind, a, q, kv, hs, spans)
			if obs != nil {
				obs.Attention(l, a, n, y.wo, hs)
			}
			d.AddLinear(kind, x, a, n, y.wo)
		}
		if y.shape.Intermediate > 0 {
			mid := m.work.mid[l]
			d.GateUp(kind, mid, x, n, y.mlpNorm, y.wgate, y.wup, eps)
			if obs != nil {
				obs.MLP(l, mid, n)
			}
			d.AddLinear(kind, x, mid, n, y.wdown)
		}
	}
}

// Hidden gives the final norm's output for the given rows of the last pass to
// each, row by row; the slice [D] is valid during the call only.
func (m *Model) Hidden(rows []int, each func(i int, h []float32) error) error {
	return inBatches(m.dev, &m.work.out, rows, m.Config.HiddenSize, func(part []int) device.Buffer {
		m.dev.Norm(m.work.last, m.work.final, part, m.norm, m.Config.NormEps)
		return m.work.last
	}, each)
}

// Logits gives the logits of the given rows of the last pass to each, row by
// row, with kernels of that pass's kind; the slice [V] is valid during the call only.
func (m *Model) Logits(rows []int, each func(i int, logits []float32) error) error {
	return inBatches(m.dev, &m.work.out, rows, m.Config.VocabSize, func(part []int) device.Buffer {
		m.dev.Norm(m.work.last, m.work.final, part, m.norm, m.Config.NormEps)
		m.dev.Linear(m.kind, m.work.logits, m.work.last, len(part), m.head)
		return m.work.logits
	}, each)
}

// inBatches lets form make a buffer [len(part), width] of some rows at a time, and
// hands it out row by row, through memory that is kept for the next time; each may not
// ask the same model for more meanwhile.
func inBatches(d device.Device, kept *[]float32, rows []int, width int, form func(part []int) device.Buffer, each func(int, []float32) error) error {
	n := min(logitRows, len(rows)) * width
	*kept = slices.Grow((*kept)[:0], n)[:n]
	host := *kept
	for at := 0; at < len(rows); at += logitRows {
		part := rows[at:min(at+logitRows, len(rows))]
		d.Read(host, form(part), 0, len(part))
		if err := d.Sync(); err != nil {
			return err
		}
		for i := range part {
			if err := each(at+i, host[i*width:(i+1)*width]); err != nil {
				return err
			}
		}
	}
	return nil
}

// check validates the chunks and places their rows; what it gives is valid until the
// next call.
func (m *Model) check(cache *kvcache.Cache, chunks []Chunk) (ids []int, spans []device.Span, err error) {
	w := &m.work
	w.seen = slices.Grow(w.seen[:0], len(cache.Len))[:len(cache.Len)]
	clear(w.seen)
	ids, spans = w.ids[:0], w.spans[:0]
	for _, c := range chunks {
		if c.Seq < 0 || c.Seq >= len(cache.Len) || w.seen[c.Seq] {
			return nil, nil, fmt.Errorf("sequence %d: want each of %d at most once", c.Seq, len(cache.Len))
		}
		w.seen[c.Seq] = true
		for i, id := range c.Tokens {
			if id < 0 || id >= m.Config.VocabSize {
				return nil, nil, fmt.Errorf("id %d at position %d: %w of %d", id, cache.Len[c.Seq]+i, ErrVocabulary, m.Config.VocabSize)
			}
		}
		start := cache.Len[c.Seq]
		if cache.Whole && start > 0 {
			return nil, nil, errors.New("a cache for whole passes holds no earlier positions: reset it first")
		}
		if limit := min(cache.Capacity, m.Config.MaxPositions); start+len(c.Tokens) > limit {
			return nil, nil, fmt.Errorf("%d tokens: %w of %d", start+len(c.Tokens), ErrContext, limit)
		}
		if len(c.Tokens) > 0 {
			spans = append(spans, device.Span{Seq: c.Seq, Start: start, Row: len(ids), Len: len(c.Tokens)})
			ids = append(ids, c.Tokens...)
		}
	}
	if len(ids) == 0 {
		return nil, nil, errors.New("no ids to run")
	}
	w.ids, w.spans = ids, spans
	return ids, spans, nil
}

// reserve makes the activations large enough for n rows.
func (m *Model) reserve(n int) error {
	w := &m.work
	if n <= w.rows {
		return nil
	}
	var err error
	buffer := func(rows, cols int) (b device.Buffer) {
		if err == nil {
			b, err = m.dev.Buffer(rows, cols)
		}
		return b
	}
	activations := func(widths []int) (b []device.Buffer) {
		if err == nil {
			b, err = m.dev.Activations(n, widths)
		}
		return b
	}
	w.x = buffer(n, m.Config.HiddenSize)
	var heads, mlp []int
	for _, s := range m.Config.Layers {
		heads, mlp = append(heads, s.Heads*s.HeadDim), append(mlp, s.Intermediate)
	}
	w.q, w.a, w.mid = activations(heads), activations(heads), activations(mlp)
	if w.last == nil {
		w.last, w.logits = buffer(logitRows, m.Config.HiddenSize), buffer(logitRows, m.Config.VocabSize)
	}
	if err != nil {
		w.rows = 0
		return fmt.Errorf("activations of %d tokens: %w", n, err)
	}
	w.rows = n
	return nil
}
