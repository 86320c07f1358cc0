// Package generate turns logits into text: prompt ids in, continuation ids out,
// one by one, for one sequence or a batch.
package generate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Options of a run.
type Options struct {
	SamplingParams
	MaxTokens int  // ids to generate per sequence
	IgnoreEOS bool // always generate MaxTokens ids
}

// Run continues each prompt (ids, at least one each). The cache is emptied
// first and must hold prompt and continuation. After each step, emit is called
// with the new id of every sequence that is still running; it returns the
// sequences to end (nil = none); what it is given is valid during the call only. A
// sequence also ends at an EOS id, which is not emitted, or at MaxTokens.
func Run(ctx context.Context, m *model.Model, cache *kvcache.Cache, prompts [][]int, o Options, emit func(seqs, ids []int) (done []int)) error {
	if err := o.Check(); err != nil {
		return err
	}
	if len(prompts) != len(cache.Len) {
		return fmt.Errorf("prompts: want %d, as many as cache sequences, got %d", len(cache.Len), len(prompts))
	}
	for i, p := range prompts {
		if len(p) == 0 {
			return fmt.Errorf("prompt %d: no ids", i)
		}
		if limit := min(cache.Capacity, m.Config.MaxPositions); len(p) > limit {
			return fmt.Errorf("prompt of %d tokens: %w of %d", len(p), model.ErrContext, limit)
		}
	}
	if o.MaxTokens <= 0 {
		return nil
	}
	cache.Reset()
	live := make([]int, len(prompts))
	samplers := make([]*sampler, len(prompts))
	next := make([]int, len(prompts))
	for i, p := range prompts {
		live[i], samplers[i] = i, newSampler(o.SamplingParams, i, p)
	}
	for _, pass := range prefillPasses(prompts, m.PrefillRows()) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := prefill(m, cache, pass, prompts, samplers, next); err != nil {
			return err
		}
	}
	step := 0
	ids := make([]int, len(prompts))
	d := decoder{m: m, cache: cache, samplers: samplers, next: next}
	// turn hands out the step's ids and says whether any sequence is left to go on.
	turn := func() (more bool, err error) {
		step++
		if !o.IgnoreEOS {
			live = slices.DeleteFunc(live, func(s int) bool { return slices.Contains(m.Config.EOS, next[s]) })
		}
		if len(live) == 0 {
			return false, nil
		}
		for i, s := range live {
			ids[i] = next[s]
		}
		if done := emit(live, ids[:len(live)]); len(done) > 0 {
			live = slices.DeleteFunc(slices.Clone(live), func(s int) bool { return slices.Contains(done, s) })
		}
		if step == o.MaxTokens || len(live) == 0 {
			return false, nil
		}
		return true, ctx.Err()
	}
	more, err := turn()
	for more && err == nil {
		if m.DecodesByGraph() {
			more, err = graphDecode(m, cache, live, next, samplers, o.MaxTokens-step, turn, func() int { return len(live) })
		} else if err = d.step(live); err == nil {
			more, err = turn()
		}
		if errors.Is(err, model.ErrContext) {
			return fmt.Errorf("after %d tokens: %w", step, err)
		}
	}
	return err
}

// prefillPasses puts prompts together, as many as fit into a pass of so many rows; one that
// is longer has passes of its own.
func prefillPasses(prompts [][]int, rows int) (all [][]model.Chunk) {
	room := 0
	for i, p := range prompts {
		if len(p) <= room {
			last := len(all) - 1
			all[last] = append(all[last], model.Chunk{Seq: i, Tokens: p})
			room -= len(p)
			continue
		}
		for part := range slices.Chunk(p, rows) {
			all = append(all, []model.Chunk{{Seq: i, Tokens: part}})
			room = rows - len(part)
		}
	}
	return all
}

// prefill runs a pass, and draws the first id of each prompt that ends in it.
func prefill(m *model.Model, cache *kvcache.Cache, pass []model.Chunk, prompts [][]int, samplers []*sampler, next []int) error {
	if err := m.Forward(model.Pass{Cache: cache, Chunks: pass, LastOnly: true}); err != nil {
		return err
	}
	var rows, seqs []int
	for i, c := range pass {
		if cache.Len[c.Seq] == len(prompts[c.Seq]) {
			rows, seqs = append(rows, i), append(seqs, c.Seq)
		}
	}
	return m.Logits(rows, func(i int, z []float32) (err error) {
		next[seqs[i]], err = samplers[seqs[i]].next(z)
		return err
	})
}

// graphDecode lets the device decode by itself for as long as the same sequences live.
func graphDecode(m *model.Model, cache *kvcache.Cache, live, next []int, samplers []*sampler, n int, turn func() (bool, error), living func() int) (more bool, err error) {
	seqs, ids := slices.Clone(live), make([]int, len(live))
	for i, s := range seqs {
		ids[i] = next[s]
	}
	o := samplers[seqs[0]].SamplingParams
	by := device.SamplingParams{Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP, MinP: o.MinP, RepetitionPenalty: o.RepetitionPenalty}
	var seen [][]int
	for _, s := range seqs {
		if by.Temperature > 0 {
			by.Streams = append(by.Streams, samplers[s].key)
		}
		if by.HasPenalty() {
			seen = append(seen, slices.Collect(maps.Keys(samplers[s].seen)))
		}
	}
	var failed error
	err = m.DecodeLoop(cache, seqs, ids, seen, n, by, func(ids []int) bool {
		for i, s := range seqs {
			if next[s] = ids[i]; ids[i] < 0 {
				more, failed = false, fmt.Errorf("sequence %d: %w", s, ErrNotFinite)
				return false
			}
			samplers[s].accept(ids[i])
		}
		more, failed = turn()
		return more && failed == nil && living() == len(seqs)
	})
	return more, errors.Join(failed, err)
}

// decoder decodes step by step, in memory that it keeps.
type decoder struct {
	m        *model.Model
	cache    *kvcache.Cache
	samplers []*sampler // per sequence
	next     []int      // per sequence: its last id
	live     []int      // the sequences of the step
	chunks   []model.Chunk
	rows     []int
}

// step runs one id of each live sequence and draws the next ones.
func (d *decoder) step(live []int) error {
	d.live, d.chunks, d.rows = live, d.chunks[:0], d.rows[:0]
	for i, s := range live {
		d.chunks, d.rows = append(d.chunks, model.Chunk{Seq: s, Tokens: d.next[s : s+1]}), append(d.rows, i)
	}
	if err := d.m.Forward(model.Pass{Phase: device.Decode, Cache: d.cache, Chunks: d.chunks}); err != nil {
		return err
	}
	return d.m.Logits(d.rows, d.draw)
}

// draw draws the next id of a step's sequence i.
func (d *decoder) draw(i int, logits []float32) (err error) {
	s := d.live[i]
	d.next[s], err = d.samplers[s].next(logits)
	return err
}
