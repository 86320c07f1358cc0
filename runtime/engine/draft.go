package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Draft is a smaller model of the same vocabulary that proposes tokens, which the engine's
// model checks, several in one pass (speculative decoding, see package generate). Without a
// temperature the tokens stay the same, bit by bit; with one, their distribution does.
type Draft struct {
	Model  *model.Model // on the device of the engine's model; nothing else may use it meanwhile
	Tokens int          // proposed at a time; 0 = chosen by the acceptance and the times that are measured
}

// drafter is the draft of an engine with its cache, which has the slots of the engine's cache.
type drafter struct {
	Draft
	cache  *kvcache.Cache
	choice draftChoice
}

// proposal is a token that the draft proposes, and what it was sampled from.
type proposal struct {
	token int
	from  generate.Distribution
}

// newCaches makes the caches of a model and its draft. Both get the same number of pages, so
// that a request that has its pages in one has them in the other.
func newCaches(m *model.Model, draft Draft, o kvcache.Options) (cache, other *kvcache.Cache, err error) {
	if a, b := m.Config, draft.Model.Config; a.VocabSize != b.VocabSize {
		return nil, nil, fmt.Errorf("draft: want a vocabulary of %d tokens as the model has, got %d", a.VocabSize, b.VocabSize)
	} else if b.MaxPositions < o.MaxPositions {
		return nil, nil, fmt.Errorf("draft: want a context of at least %d positions, got %d", o.MaxPositions, b.MaxPositions)
	}
	if draft.Model.Device() != m.Device() {
		return nil, nil, errors.New("draft: want it on the device of the model")
	}
	if draft.Tokens < 0 || draft.Tokens > generate.MaxDraft {
		return nil, nil, fmt.Errorf("draft: want 0 to %d tokens at a time, got %d", generate.MaxDraft, draft.Tokens)
	}
	limit := o.MemoryLimit
	build := func(m *model.Model, bytes int64) (*kvcache.Cache, error) {
		o.MemoryLimit = bytes
		return kvcache.New(m.Device(), m.Config, o)
	}
	if cache, err = build(m, 0); err != nil {
		return nil, nil, err
	}
	if other, err = build(draft.Model, 0); err != nil {
		cache.Close()
		return nil, nil, err
	}
	if limit == 0 {
		return cache, other, nil
	}
	a, b := cache.PageBytes(), other.PageBytes()
	cache.Close()
	other.Close()
	pages := limit / max(a+b, 1)
	if cache, err = build(m, max(pages*a, 1)); err != nil {
		return nil, nil, err
	}
	if other, err = build(draft.Model, max(pages*b, 1)); err != nil {
		cache.Close()
		return nil, nil, err
	}
	return cache, other, nil
}

// drafts reports whether the draft proposes tokens of a request. Rules and grammars change logits
// of the model alone, and the embeddings of images are the model's.
func (e *Engine) drafts(r *request) bool {
	return e.draft != nil && !r.Rules.Any() && r.Grammar == nil && len(r.Images) == 0
}

// startDraft prepares a request that has its slot.
func (e *Engine) startDraft(r *request) (err error) {
	if !e.drafts(r) {
		return nil
	}
	if r.draftSlot, err = e.draft.cache.Alloc(); err != nil {
		return err
	}
	r.drafted = true
	r.text = slices.Clone(r.Prompt)
	r.draftSampler = generate.NewSampler(r.Sampling, r.Sequence, r.Prompt)
	return e.draft.cache.Reserve(r.draftSlot, r.positions())
}

// endDraft frees the draft's slot of a request.
func (e *Engine) endDraft(r *request) {
	if r.drafted {
		e.draft.cache.Free(r.draftSlot)
		r.drafted = false
	}
}

// catchUp lets the draft compute the text of requests that it has not seen yet, and gives the
// requests of which it has seen enough. With a fixed number of proposals it computes all of
// it, so that a seed always gives the same text; else one pass in a step, so that others do
// not wait for long.
func (e *Engine) catchUp(requests []*request) (ready []*request, err error) {
	d := e.draft
	passes := 0
	for _, r := range requests {
		for {
			from, end := d.cache.Len(r.draftSlot), len(r.text)-1
			if end-from < generate.MaxDraft+2 { // few tokens are a part of the decode pass
				ready = append(ready, r)
				break
			}
			if d.Tokens == 0 && passes > 0 {
				break
			}
			end = min(end, from+d.Model.PrefillRows())
			pass := model.Pass{Cache: d.cache, LastOnly: true, Chunks: []model.Chunk{{Slot: r.draftSlot, Tokens: r.text[from:end]}}}
			if err := d.Model.Forward(pass); err != nil {
				return nil, err
			}
			passes++
		}
	}
	return ready, nil
}

// propose lets the draft decode up to n tokens of each request.
func (e *Engine) propose(requests []*request, n int) (err error) {
	d := e.draft
	if requests, err = e.catchUp(requests); err != nil {
		return err
	}
	for _, r := range requests {
		r.draftSampler.Follow(r.sampler)
	}
	for i := range n {
		pass := model.Pass{Phase: device.Decode, Cache: d.cache}
		var rows []int
		var each []*request
		total := 0
		for _, r := range requests {
			if i >= r.MaxTokens-r.generated-1 { // the last token is the model's own
				continue
			}
			var tokens []int
			if i == 0 {
				tokens = r.text[d.cache.Len(r.draftSlot):]
			} else {
				tokens = []int{r.proposals[i-1].token}
			}
			pass.Chunks = append(pass.Chunks, model.Chunk{Slot: r.draftSlot, Tokens: tokens})
			total += len(tokens)
			rows, each = append(rows, total-1), append(each, r)
		}
		if len(rows) == 0 {
			return nil
		}
		start := time.Now()
		if err := d.Model.Forward(pass); err != nil {
			return err
		}
		var failed error
		if err := d.Model.Logits(rows, func(i int, z []float32) error {
			token, from, err := each[i].draftSampler.Propose(z)
			if err != nil && failed == nil {
				failed = fmt.Errorf("draft: %w", err)
			}
			each[i].proposals = append(each[i].proposals, proposal{token, from})
			return nil
		}); err != nil {
			return err
		}
		if i > 0 { // the first pass may compute what was accepted before
			d.choice.draft.add(total, time.Since(start).Seconds())
		}
		if failed != nil { // the model goes on alone
			for _, r := range requests {
				r.proposals = nil
			}
			return nil
		}
	}
	return nil
}

// decodeDrafted is decode with proposals of the draft for the requests that it drafts.
func (e *Engine) decodeDrafted(requests []*request) error {
	if len(requests) == 0 {
		return nil
	}
	var drafted []*request
	for _, r := range requests {
		if r.proposals = r.proposals[:0]; r.drafted {
			drafted = append(drafted, r)
		}
	}
	n := e.draft.Tokens
	if n == 0 {
		n = e.draft.choice.next(len(drafted), len(requests))
	}
	if len(drafted) > 0 && n > 0 {
		if err := e.propose(drafted, n); err != nil {
			return e.voidPass(err, slices.Values(drafted))
		}
	}
	return e.verify(requests)
}

// verify computes the proposals of requests in one pass and delivers those that are accepted,
// and one token more for each.
func (e *Engine) verify(requests []*request) error {
	pass := model.Pass{Phase: device.Decode, Cache: e.cache}
	type row struct {
		r *request
		i int // of the proposal that the row's logits decide about
	}
	var rows []int
	var of []row
	for _, r := range requests {
		tokens := []int{r.last}
		for _, p := range r.proposals {
			tokens = append(tokens, p.token)
		}
		pass.Chunks = append(pass.Chunks, model.Chunk{Slot: r.slot, Tokens: tokens})
		for i := range tokens {
			rows, of = append(rows, len(rows)), append(of, row{r, i})
		}
		r.refused = false
	}
	start := time.Now()
	if err := e.m.Forward(pass); err != nil {
		return e.voidPass(err, slices.Values(requests))
	}
	if err := e.m.Logits(rows, func(i int, z []float32) error {
		if x := of[i]; !x.r.refused && x.r.result.Finish() == "" {
			e.verifyToken(x.r, x.i, z)
		}
		return nil
	}); err != nil {
		return err
	}
	e.draft.choice.model.add(len(rows), time.Since(start).Seconds())
	return e.forgetRefused(requests)
}

// verifyToken chooses the token behind one row: of a proposal, or the one behind all of them.
func (e *Engine) verifyToken(r *request, i int, z []float32) {
	if i == len(r.proposals) {
		e.sample(r, z)
		return
	}
	defer e.catch(r)
	token, accepted, err := r.sampler.Verify(z, r.proposals[i].token, r.proposals[i].from)
	if err != nil {
		e.end(r, FinishError, err)
		return
	}
	r.refused = !accepted
	e.draft.choice.count(accepted)
	e.mu.Lock()
	e.stats.Checked++
	if accepted {
		e.stats.Accepted++
	}
	e.mu.Unlock()
	e.deliver(r, r.token(token, z))
}

// forgetRefused counts the proposals and shortens the sequences in both caches to the text
// that was accepted. Its last token is the next input.
func (e *Engine) forgetRefused(requests []*request) error {
	drafted := 0
	for _, r := range requests {
		drafted += len(r.proposals)
		if !r.drafted {
			continue
		}
		keep := len(r.text) - 1
		if e.cache.Len(r.slot) > keep {
			if err := e.cache.Truncate(r.slot, keep); err != nil {
				return err
			}
		}
		if e.draft.cache.Len(r.draftSlot) > keep {
			if err := e.draft.cache.Truncate(r.draftSlot, keep); err != nil {
				return err
			}
		}
	}
	if drafted > 0 {
		e.mu.Lock()
		e.stats.Drafted += int64(drafted)
		e.stats.DraftSteps++
		e.mu.Unlock()
	}
	return nil
}
