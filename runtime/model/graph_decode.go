package model

import (
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/kvcache"
)

// GraphDecoder decodes sequences of a cache on a device that runs decode steps as graphs.
// Sequences join and leave between steps. A graph is captured for a bucket of batch sizes
// (1, 2, 4, 8, ...), a bound on positions and for whether a sequence needs sampling with
// filters; it is kept, so that joining and leaving within a bucket captures nothing.
//
// While the host looks at the tokens of one step, the next step runs already. A sequence
// that leaves then has its token of that step ignored.
type GraphDecoder struct {
	m     *Model
	dev   device.GraphDecoder
	cache *kvcache.Cache
	state device.DecodeRows
	work  workspace // of the steps
	rows  []*decodeRow
	after []*launched // steps that Wait has not returned, the oldest first

	graphs   map[graphKey]device.DecodeGraph
	captures int
	failed   bool // a step that was queued is lost: the decoder is of no further use
	tokens   []int
}

// graphKey is what a graph is captured for.
type graphKey struct {
	rows, limit int
	filters     bool
}

// decodeRow is a sequence that is decoded.
type decodeRow struct {
	device.DecodeRow      // Token is the last one that Wait returned, Position the next step's
	left             bool // the sequence has left
}

// launched is a queued step.
type launched struct {
	graph device.DecodeGraph
	rows  []*decodeRow // nil = padding
}

// stepsAhead is how many steps may be queued at a time.
const stepsAhead = 2

// graphDevice returns the model's device if it decodes by graphs.
func (m *Model) graphDevice() (device.GraphDecoder, bool) {
	dev, ok := m.dev.(device.GraphDecoder)
	return dev, ok
}

// DecodesByGraph reports whether the device decodes by graphs.
func (m *Model) DecodesByGraph() bool {
	_, ok := m.graphDevice()
	return ok
}

// PrefillRows is how many tokens of a prompt should go through the layers at a time.
func (m *Model) PrefillRows() int { return m.dev.Capabilities().PrefillRows }

// GraphDecoder gives the decoder of a cache, without sequences; that of another cache is
// closed. The device must be one that decodes by graphs.
func (m *Model) GraphDecoder(cache *kvcache.Cache) (*GraphDecoder, error) {
	if d := m.decoder; d != nil {
		if err := d.Reset(); err == nil && d.cache == cache && !d.failed {
			return d, nil
		}
		if err := d.Close(); err != nil {
			return nil, err
		}
	}
	dev, ok := m.graphDevice()
	if !ok {
		return nil, errors.New("the device does not decode by graphs")
	}
	rows := bucket(cache.Slots())
	state, err := dev.NewDecodeRows(rows, cache.Slots(), m.Config.VocabSize)
	if err != nil {
		return nil, fmt.Errorf("decode state of %d rows: %w", rows, err)
	}
	d := &GraphDecoder{m: m, dev: dev, cache: cache, state: state, rows: make([]*decodeRow, rows), graphs: map[graphKey]device.DecodeGraph{}, tokens: make([]int, rows)}
	// Graphs point to the activations, so that all buckets have the same.
	if err := d.swapped(func() error { return m.reserve(rows) }); err != nil {
		d.work.free()
		state.Free()
		return nil, err
	}
	m.decoder = d
	return d, nil
}

// swapped calls f while the model's activations are the decoder's.
func (d *GraphDecoder) swapped(f func() error) error {
	m := d.m
	m.work, d.work = d.work, m.work
	defer func() { m.work, d.work = d.work, m.work }()
	return f()
}

// bucket is the least power of two that holds n rows.
func bucket(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

// Join adds a sequence of the cache, from the next step on: token is its next input. A
// repetition penalty applies to the tokens in seen and to those that are sampled. stream is
// the key of the sequence's random numbers.
func (d *GraphDecoder) Join(slot, token int, p device.SamplingParams, stream uint64, seen []int) error {
	if !d.cache.Allocated(slot) || d.find(slot) >= 0 {
		return fmt.Errorf("slot %d: want a sequence of the cache that is not decoded yet", slot)
	}
	if token < 0 || token >= d.m.Config.VocabSize {
		return fmt.Errorf("token %d of slot %d: %w of %d", token, slot, ErrVocabulary, d.m.Config.VocabSize)
	}
	if seen == nil {
		seen = []int{} // nothing, whatever the slot's last sequence has seen
	}
	r := &decodeRow{DecodeRow: device.DecodeRow{Token: token, Slot: slot, Position: d.cache.Len(slot), Sampling: p, Stream: stream, Seen: seen}}
	for i, other := range d.rows {
		if other == nil {
			if err := d.state.Set(i, r.DecodeRow); err != nil {
				return err
			}
			d.rows[i] = r
			return nil
		}
	}
	return fmt.Errorf("slot %d: all %d rows are taken", slot, len(d.rows))
}

// Leave ends the decoding of a sequence; those of steps that are queued have their tokens
// ignored. The slot may be freed at once. A slot that is not decoded is left as it is.
func (d *GraphDecoder) Leave(slot int) {
	if i := d.find(slot); i >= 0 {
		d.rows[i].left = true
		d.rows[i] = nil
		d.state.Clear(i)
	}
}

// find gives the row of a slot, -1 where it has none.
func (d *GraphDecoder) find(slot int) int {
	for i, r := range d.rows {
		if r != nil && r.Slot == slot {
			return i
		}
	}
	return -1
}

// InFlight is the number of steps that are queued and not yet waited for.
func (d *GraphDecoder) InFlight() int { return len(d.after) }

// Captures is how many graphs were captured so far.
func (d *GraphDecoder) Captures() int { return d.captures }

// Launch queues a step of all sequences. It does nothing and returns false where there are
// no sequences, where two steps are queued already, and where the steps that are queued must
// be waited for first, since few sequences are left and move to a smaller bucket. An error
// of ErrContext or device.ErrMemory leaves everything as it was: the step can be tried again
// when a sequence has left.
func (d *GraphDecoder) Launch() (queued bool, err error) {
	live, highest := 0, 0
	for i, r := range d.rows {
		if r != nil {
			live, highest = live+1, i+1
		}
	}
	if live == 0 || len(d.after) == stepsAhead {
		return false, nil
	}
	if bucket(live) < bucket(highest) {
		if len(d.after) > 0 {
			return false, nil
		}
		if err := d.compact(); err != nil {
			return false, err
		}
		highest = live
	}
	n, longest := bucket(highest), 0
	for _, r := range d.rows[:n] {
		if r == nil {
			continue
		}
		if limit := min(d.cache.MaxPositions, d.m.Config.MaxPositions); r.Position >= limit {
			return false, fmt.Errorf("%d tokens: %w of %d", r.Position+1, ErrContext, limit)
		}
		if err := d.cache.Reserve(r.Slot, r.Position+1); err != nil {
			return false, err
		}
		longest = max(longest, r.Position+1)
	}
	graph, err := d.graph(n, longest)
	if err != nil {
		return false, err
	}
	if err := graph.Launch(); err != nil {
		return false, err
	}
	step := &launched{graph: graph, rows: append([]*decodeRow(nil), d.rows[:n]...)}
	for _, r := range step.rows {
		if r != nil {
			r.Position++
		}
	}
	d.after = append(d.after, step)
	return true, nil
}

// compact moves the sequences to the first rows. No step is queued, so that the host knows
// their next inputs.
func (d *GraphDecoder) compact() error {
	to := 0
	for i, r := range d.rows {
		if r == nil {
			continue
		}
		if i != to {
			r.Seen = nil // the device has them
			if err := d.state.Set(to, r.DecodeRow); err != nil {
				return err
			}
			d.state.Clear(i)
			d.rows[to], d.rows[i] = r, nil
		}
		to++
	}
	return nil
}

// graph gives the graph of the first n rows for positions up to longest, which serves until
// the positions outgrow the next power of two.
func (d *GraphDecoder) graph(n, longest int) (device.DecodeGraph, error) {
	key := graphKey{n, min(max(256, bucket(longest)), d.cache.MaxPositions), d.state.NeedFilters(n)}
	if g := d.graphs[key]; g != nil {
		return g, nil
	}
	spans, tokens := make([]device.Span, n), make([]int, n)
	for i := range spans {
		spans[i] = device.Span{Row: i, Len: 1}
	}
	var g device.DecodeGraph
	err := d.swapped(func() (err error) {
		m := d.m
		m.phase, m.work.final = device.Decode, m.work.x
		g, err = d.dev.Capture(d.state, n, key.limit, func() {
			m.run(passRows{phase: device.Decode, cache: d.cache, x: m.work.x, n: n, spans: spans}, tokens)
			d.dev.Sample(m.lmHead(), n, key.filters)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	d.graphs[key] = g
	d.captures++
	return g, nil
}

// Wait waits for the oldest step that is queued and gives each of its sequences that has not
// left its next token, -1 where a logit is not finite. The position of the step's input is
// then in the cache.
func (d *GraphDecoder) Wait(each func(slot, token int)) error {
	if len(d.after) == 0 {
		return errors.New("no step is queued")
	}
	step := d.after[0]
	tokens := d.tokens[:len(step.rows)]
	if err := step.graph.Wait(tokens); err != nil {
		return err
	}
	d.after = d.after[1:]
	for i, r := range step.rows {
		if r == nil || r.left {
			continue
		}
		d.cache.Append(r.Slot, 1)
		r.Token = tokens[i]
	}
	for i, r := range step.rows {
		if r != nil && !r.left {
			each(r.Slot, tokens[i])
		}
	}
	return nil
}

// Reset lets all sequences leave, and waits for the steps that are queued.
func (d *GraphDecoder) Reset() error {
	for _, r := range d.rows {
		if r != nil {
			d.Leave(r.Slot)
		}
	}
	for len(d.after) > 0 {
		if err := d.Wait(func(int, int) {}); err != nil {
			d.after, d.failed = nil, true
			return err
		}
	}
	return nil
}

// Close gives the graphs and their memory back.
func (d *GraphDecoder) Close() error {
	err := d.Reset()
	for _, g := range d.graphs {
		err = errors.Join(err, g.Close())
	}
	d.graphs = nil
	d.state.Free()
	d.work.free()
	if d.m.decoder == d {
		d.m.decoder = nil
	}
	return err
}
