// Package generate continues prompts: tokens in, tokens out, step by step, for one sequence
// or a batch.
package generate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Options of a run.
type Options struct {
	SamplingParams
	MaxTokens int  // tokens to generate per sequence
	IgnoreEOS bool // always generate MaxTokens tokens

	// Embeddings replace those of some of the prompts' tokens, such as those of images;
	// by prompt, nil = none.
	Embeddings [][]model.Embeddings
}

// Run continues each prompt, of at least one token. Sequence i is prompts[i]; the cache must
// have as many slots and hold prompt and continuation. It is emptied before and afterwards,
// and a sequence's pages are free as soon as the sequence ends. After each step, emit is
// called with the new token of every sequence that is still running; it returns the
// sequences to end (nil = none). The slices that it gets are valid during the call only. A
// sequence also ends at an EOS token, which is not emitted, or at MaxTokens.
func Run(ctx context.Context, m *model.Model, cache *kvcache.Cache, prompts [][]int, o Options, emit func(seqs, tokens []int) (done []int)) error {
	if err := o.Check(); err != nil {
		return err
	}
	if len(prompts) > cache.Slots() {
		return fmt.Errorf("prompts: want at most %d, as many as the cache has slots, got %d", cache.Slots(), len(prompts))
	}
	if o.Embeddings != nil && len(o.Embeddings) != len(prompts) {
		return fmt.Errorf("embeddings: want those of %d prompts, got %d", len(prompts), len(o.Embeddings))
	}
	for i, p := range prompts {
		if len(p) == 0 {
			return fmt.Errorf("prompt %d: no tokens", i)
		}
		if limit := min(cache.MaxPositions, m.Config.MaxPositions); len(p) > limit {
			return fmt.Errorf("prompt of %d tokens: %w of %d", len(p), model.ErrContext, limit)
		}
	}
	if o.MaxTokens <= 0 || len(prompts) == 0 {
		return nil
	}
	cache.Reset()
	defer cache.Reset()
	// The lowest slots are free: sequence i has slot i.
	live, err := cache.AllocN(len(prompts))
	if err != nil {
		return err
	}
	b := &batch{m: m, cache: cache, o: o, emit: emit, live: live, samplers: make([]*Sampler, len(prompts)), next: make([]int, len(prompts)), tokens: make([]int, len(prompts))}
	for i, p := range prompts {
		b.samplers[i] = NewSampler(o.SamplingParams, i, p)
	}
	for _, pass := range prefillPasses(prompts, m.PrefillRows()) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range pass {
			if c := &pass[i]; o.Embeddings != nil {
				from := cache.Len(c.Slot)
				c.Embeddings = model.SliceEmbeddings(o.Embeddings[c.Slot], from, from+len(c.Tokens), m.Config.HiddenSize)
			}
		}
		if err := b.prefill(pass, prompts); err != nil {
			return err
		}
	}
	decode := b.decode
	if m.DecodesByGraph() {
		decode = b.decodeByGraph
	}
	more, err := b.deliver(ctx)
	if more && err == nil {
		err = decode(ctx)
	}
	if errors.Is(err, model.ErrContext) {
		return fmt.Errorf("after %d tokens: %w", b.step, err)
	}
	return err
}

// batch is the sequences of a run. The slot of a sequence is its number.
type batch struct {
	m        *model.Model
	cache    *kvcache.Cache
	o        Options
	emit     func(seqs, tokens []int) (done []int)
	samplers []*Sampler // per sequence
	next     []int      // per sequence: its last token
	live     []int      // the sequences that go on
	step     int        // tokens that each has

	// Memory for a step.
	tokens []int
	chunks []model.Chunk
	rows   []int
}

// deliver hands out the step's tokens, frees the sequences that end, and reports whether any
// goes on.
func (b *batch) deliver(ctx context.Context) (more bool, err error) {
	b.step++
	if !b.o.IgnoreEOS {
		b.end(func(s int) bool { return slices.Contains(b.m.Config.EOS, b.next[s]) })
	}
	if len(b.live) == 0 {
		return false, nil
	}
	for i, s := range b.live {
		b.tokens[i] = b.next[s]
	}
	if done := b.emit(b.live, b.tokens[:len(b.live)]); len(done) > 0 {
		b.end(func(s int) bool { return slices.Contains(done, s) })
	}
	if b.step == b.o.MaxTokens || len(b.live) == 0 {
		return false, nil
	}
	return true, ctx.Err()
}

// end frees the live sequences that are done.
func (b *batch) end(done func(seq int) bool) {
	var live []int
	for _, s := range b.live {
		if done(s) {
			b.cache.Free(s)
		} else {
			live = append(live, s)
		}
	}
	b.live = live
}

// prefillPasses puts prompts together, as many as fit into a pass of so many rows; one that
// is longer has passes of its own.
func prefillPasses(prompts [][]int, rows int) (all [][]model.Chunk) {
	room := 0
	for i, p := range prompts {
		if len(p) <= room {
			last := len(all) - 1
			all[last] = append(all[last], model.Chunk{Slot: i, Tokens: p})
			room -= len(p)
			continue
		}
		for part := range slices.Chunk(p, rows) {
			all = append(all, []model.Chunk{{Slot: i, Tokens: part}})
			room = rows - len(part)
		}
	}
	return all
}

// prefill runs a pass, and chooses the first token of each prompt that ends in it.
func (b *batch) prefill(pass []model.Chunk, prompts [][]int) error {
	if err := b.m.Forward(model.Pass{Cache: b.cache, Chunks: pass, LastOnly: true}); err != nil {
		return err
	}
	var rows, seqs []int
	for i, c := range pass {
		if b.cache.Len(c.Slot) == len(prompts[c.Slot]) {
			rows, seqs = append(rows, i), append(seqs, c.Slot)
		}
	}
	return b.m.Logits(rows, func(i int, z []float32) (err error) {
		b.next[seqs[i]], err = b.samplers[seqs[i]].Next(z)
		return err
	})
}

// decode decodes step by step, the host choosing the tokens.
func (b *batch) decode(ctx context.Context) error {
	for {
		b.chunks, b.rows = b.chunks[:0], b.rows[:0]
		for i, s := range b.live {
			b.chunks, b.rows = append(b.chunks, model.Chunk{Slot: s, Tokens: b.next[s : s+1]}), append(b.rows, i)
		}
		if err := b.m.Forward(model.Pass{Phase: device.Decode, Cache: b.cache, Chunks: b.chunks}); err != nil {
			return err
		}
		if err := b.m.Logits(b.rows, b.sample); err != nil {
			return err
		}
		if more, err := b.deliver(ctx); !more || err != nil {
			return err
		}
	}
}

// sample chooses the next token of a step's sequence i.
func (b *batch) sample(i int, logits []float32) (err error) {
	s := b.live[i]
	b.next[s], err = b.samplers[s].Next(logits)
	return err
}

// decodeByGraph decodes on a device that chooses the tokens itself. Sequences leave as they
// end; the others go on.
func (b *batch) decodeByGraph(ctx context.Context) (err error) {
	d, err := b.m.GraphDecoder(b.cache)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Reset()) }()
	for _, s := range b.live {
		p := b.samplers[s]
		if err := d.Join(s, b.next[s], b.o.SamplingParams, p.Key(), p.Seen()); err != nil {
			return err
		}
	}
	for wanted := b.o.MaxTokens - b.step; ; {
		for wanted > 0 {
			queued, err := d.Launch()
			full := errors.Is(err, model.ErrContext) || errors.Is(err, device.ErrMemory)
			if err != nil && (!full || d.InFlight() == 0) {
				return err
			}
			if !queued { // what is under way comes first
				break
			}
			wanted--
		}
		var failed error
		if err := d.Wait(func(seq, token int) {
			if b.next[seq] = token; token < 0 {
				failed = fmt.Errorf("sequence %d: %w", seq, ErrNotFinite)
				return
			}
			b.samplers[seq].Accept(token)
		}); err != nil || failed != nil {
			return errors.Join(err, failed)
		}
		before := b.live
		more, err := b.deliver(ctx)
		for _, s := range before {
			if !slices.Contains(b.live, s) {
				d.Leave(s)
			}
		}
		if !more || err != nil {
			return err
		}
	}
}
