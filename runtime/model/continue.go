package model

import (
	"errors"
	"fmt"
	"slices"

	"mop/runtime/device"
	"mop/runtime/kvcache"
)

// capturedDecode is a decode step that the device repeats, and what it was recorded for.
type capturedDecode struct {
	cache *kvcache.Cache
	seqs  []int
	limit int
	rows  int
	by    device.SamplingParams
	steps device.DecodeGraph
}

// DecodesByGraph reports whether the device chooses ids by itself, so that Continue needs
// no host between two steps.
func (m *Model) DecodesByGraph() bool {
	_, ok := m.dev.(device.GraphDecoder)
	return ok
}

// PrefillRows is how many tokens of a prompt should go through the layers at a time.
func (m *Model) PrefillRows() int { return m.dev.Capabilities().PrefillRows }

// DecodeLoop decodes, up to n steps, on a device that Steps, which chooses by the
// given draw: ids are the next input of each of the sequences, seen what each has seen
// where the draw penalises that. After each step, each is given the ids that
// follow, and says whether to go on; the slice is valid during the call only. -1
// stands for logits that are not finite. While a step's ids are on their way, the
// next step runs already.
func (m *Model) DecodeLoop(cache *kvcache.Cache, seqs, ids []int, seen [][]int, n int, by device.SamplingParams, each func(ids []int) (more bool)) error {
	if n < 1 || len(seqs) == 0 {
		return nil
	}
	if len(ids) != len(seqs) {
		return fmt.Errorf("want an id for each of %d sequences, got %d", len(seqs), len(ids))
	}
	chunks := make([]Chunk, len(seqs))
	longest := 0
	positions := make([]int, len(seqs))
	for i, s := range seqs {
		chunks[i] = Chunk{Seq: s, Tokens: ids[i : i+1]}
	}
	if _, _, err := m.layOut(cache, chunks); err != nil {
		return err
	}
	for i, s := range seqs {
		positions[i] = cache.Len[s]
		longest = max(longest, cache.Len[s])
	}
	room := min(cache.Capacity, m.Config.MaxPositions) - longest
	short := n > room
	n = min(n, room)
	steps, err := m.record(cache, seqs, longest+n, by)
	if err != nil {
		return err
	}
	if err := steps.Start(ids, positions, seen); err != nil {
		return err
	}
	// queue queues step i, of the sequences' next i+1 positions.
	queue := func(i int) error {
		for r, s := range seqs {
			if err := cache.Extend(s, positions[r]+i+1); err != nil {
				return err
			}
		}
		return steps.Launch()
	}
	if err := queue(0); err != nil {
		return err
	}
	next := make([]int, len(seqs))
	var full error
	for i := 0; i < n; i++ {
		ahead := i+1 < n
		if ahead {
			if err := queue(i + 1); errors.Is(err, device.ErrMemory) {
				n, ahead, full = i+1, false, err // the step under way counts
			} else if err != nil {
				return err
			}
		}
		if err := steps.Wait(next); err != nil {
			return err
		}
		for _, s := range seqs {
			cache.Len[s]++
		}
		if !each(next) {
			if ahead { // the step that is under way counts for nothing
				return steps.Wait(next)
			}
			return nil
		}
	}
	if full != nil {
		return full
	}
	if short {
		return fmt.Errorf("%d tokens: %w of %d", longest+n+1, ErrContext, longest+n)
	}
	return nil
}

// record gives the recorded step for some sequences of a cache and positions below
// limit, the last one again where it fits.
func (m *Model) record(cache *kvcache.Cache, seqs []int, limit int, by device.SamplingParams) (device.DecodeGraph, error) {
	// A recording serves until the positions outgrow it: powers of two.
	size := 256
	for size < limit {
		size *= 2
	}
	limit = min(size, cache.Capacity)
	if err := m.reserve(len(seqs)); err != nil {
		return nil, err
	}
	r := &m.recorded
	if r.steps != nil && r.cache == cache && r.limit == limit && r.rows == m.work.rows && slices.Equal(r.seqs, seqs) &&
		r.by.Equal(by) {
		return r.steps, nil
	}
	if r.steps != nil {
		if err := r.steps.Close(); err != nil {
			return nil, err
		}
		*r = capturedDecode{}
	}
	spans, ids := make([]device.Span, len(seqs)), make([]int, len(seqs))
	for i, s := range seqs {
		spans[i] = device.Span{Seq: s, Row: i, Len: 1}
	}
	dev := m.dev.(device.GraphDecoder)
	m.phase = device.Decode
	steps, err := dev.Capture(seqs, limit, func() {
		m.work.final = m.work.x
		m.run(passRows{phase: device.Decode, cache: cache, x: m.work.x, n: len(ids), spans: spans}, ids)
		dev.Sample(m.lmHead(), len(ids), by)
	})
	if err != nil {
		return nil, err
	}
	by.Streams = slices.Clone(by.Streams)
	*r = capturedDecode{cache, slices.Clone(seqs), limit, m.work.rows, by, steps}
	return steps, nil
}
