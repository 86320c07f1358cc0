package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/model"
)

// Step removes canceled requests, admits waiting ones, and computes one step: a token of each
// sequence that decodes, and chunks of prompts. It reports whether there was anything to do.
// An error is one of the device, after which it is of no further use. Step is called by one
// goroutine at a time.
func (e *Engine) Step() (busy bool, err error) {
	e.removeCanceled()
	e.admitWaiting()
	if len(e.running) == 0 {
		e.updateStats()
		return false, nil
	}
	if err := e.computeImage(); err != nil {
		return true, err
	}
	var graph []*request // that decode without the host
	for _, r := range e.running {
		if r.computed >= len(r.Prompt) && e.decoder != nil && !r.needsLogits() {
			graph = append(graph, r)
		}
	}
	err = e.launchGraph(graph, len(graph) < len(e.running))
	e.prepareMasks() // while the graph runs
	var host []*request
	positions := make([]progress, len(e.running))
	for i, r := range e.running {
		positions[i] = progress{len(r.Prompt), r.computed, len(r.images) < len(r.Images) || !r.ready}
		if positions[i].decodes() && r.ready && (e.decoder == nil || r.needsLogits()) {
			host = append(host, r)
		}
	}
	if err == nil {
		err = e.prefill(prefillChunks(positions, budget{tokens: e.o.StepTokens, chunk: e.o.StepTokens}))
	}
	if err == nil && e.draft != nil {
		err = e.decodeDrafted(host)
	} else if err == nil {
		err = e.decode(host)
	}
	if err == nil {
		err = e.waitGraph()
	}
	e.steps++
	e.removeEnded()
	e.updateStats()
	return true, err
}

// removeCanceled ends the requests that were canceled since the last step.
func (e *Engine) removeCanceled() {
	e.mu.Lock()
	canceled := e.canceled
	e.canceled = map[uint64]bool{}
	var gone []*request
	if len(canceled) > 0 {
		e.waiting = slices.DeleteFunc(e.waiting, func(r *request) bool {
			if canceled[r.result.ID] {
				gone = append(gone, r)
				return true
			}
			return false
		})
	}
	e.mu.Unlock()
	for _, r := range e.running {
		if canceled[r.result.ID] {
			gone = append(gone, r)
		}
	}
	for _, r := range gone {
		e.end(r, FinishCanceled, nil)
	}
	e.removeEnded()
}

// admitWaiting starts the waiting requests that fit into the cache. Prefixes that are kept go
// where a request would fit otherwise.
func (e *Engine) admitWaiting() {
	e.mu.Lock()
	slots, most := e.o.MaxBatch-len(e.running), len(e.waiting)
	need := make([]int, len(e.waiting))
	if e.draft != nil { // its cache keeps no prefixes
		for i, r := range e.waiting {
			need[i] = e.draft.cache.PagesFor(r.positions())
		}
		_, free := e.draft.cache.Pages()
		most = admit(need, budget{slots: slots, pages: free})
	}
	n := 0
	for {
		for i, r := range e.waiting {
			need[i] = r.pages - e.prefixes.pagesOf(r)
		}
		_, free := e.cache.Pages()
		n = min(most, admit(need, budget{slots: slots, pages: free}))
		if n == most || n == slots || !e.prefixes.evict() {
			break
		}
	}
	started := slices.Clone(e.waiting[:n])
	e.waiting = slices.Delete(e.waiting, 0, n)
	e.mu.Unlock()
	for _, r := range started {
		slot, err := e.cache.Alloc()
		if err == nil {
			r.slot = slot
			r.sampler = generate.NewSampler(r.Sampling, r.Sequence, r.Prompt)
			r.sampler.Rules = r.Rules
			if r.Grammar != nil {
				r.match = r.Grammar.Match()
				r.sampler.Constraint = r.match
			}
			e.running = append(e.running, r)
			err = errors.Join(e.usePrefix(r), e.cache.Reserve(slot, r.positions()), e.startDraft(r))
		}
		r.result.change(func() { r.result.timing.Started = time.Now() })
		if err != nil {
			e.end(r, FinishError, err)
		}
	}
	e.removeEnded()
}

// end ends a request. The slot of one that runs is freed by removeEnded.
func (e *Engine) end(r *request, why Finish, err error) {
	r.result.change(func() {
		if r.result.finish == "" {
			r.result.finish, r.result.err, r.result.timing.Finished = why, err, time.Now()
		}
	})
}

// removeEnded takes requests that have ended out of the batch and frees their slots.
func (e *Engine) removeEnded() {
	e.running = slices.DeleteFunc(e.running, func(r *request) bool {
		if r.result.Finish() == "" {
			return false
		}
		if e.decoder != nil {
			e.decoder.Leave(r.slot)
		}
		e.endDraft(r)
		e.cache.Free(r.slot)
		return true
	})
}

func (e *Engine) updateStats() {
	used, _ := e.cache.Pages()
	if e.prefixes != nil { // what is kept for later requests counts as free
		var slots []int
		for _, r := range e.running {
			slots = append(slots, r.slot)
		}
		used = e.cache.PagesOf(slots)
	}
	if e.draft != nil {
		others, _ := e.draft.cache.Pages()
		used = max(used, others)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Running, e.stats.Waiting, e.stats.PagesUsed, e.stats.Steps = len(e.running), len(e.waiting), used, int64(e.steps)
}

// prefill computes chunks of prompts in one pass.
func (e *Engine) prefill(chunks []chunk) error {
	if len(chunks) == 0 {
		return nil
	}
	pass := model.Pass{Cache: e.cache, LastOnly: true}
	computed := 0
	for _, c := range chunks {
		r := e.running[c.request]
		end := r.computed + c.tokens
		pass.Chunks = append(pass.Chunks, model.Chunk{Slot: r.slot, Tokens: r.Prompt[r.computed:end],
			Embeddings: model.SliceEmbeddings(r.images, r.computed, end, e.m.Config.HiddenSize)})
		pass.LastOnly = pass.LastOnly && !r.PromptLogprobs
		computed += c.tokens
	}
	if err := e.m.Forward(pass); err != nil {
		return e.voidPass(err, func(yield func(*request) bool) {
			for _, c := range chunks {
				if !yield(e.running[c.request]) {
					return
				}
			}
		})
	}
	var rows []int
	var each []func(z []float32)
	row := 0
	for i, c := range chunks {
		r := e.running[c.request]
		from := r.computed
		r.computed += c.tokens
		last := row + c.tokens - 1
		if pass.LastOnly {
			last = i
		} else if r.PromptLogprobs {
			for j := range c.tokens {
				if next := from + j + 1; next < len(r.Prompt) {
					rows = append(rows, row+j)
					each = append(each, func(z []float32) {
						if !r.promptLogprob(next, z) {
							e.end(r, FinishError, fmt.Errorf("position %d: %w", next, generate.ErrNotFinite))
						}
					})
				}
			}
		}
		if r.computed == len(r.Prompt) {
			e.prefixes.keep(r)
			rows = append(rows, last)
			each = append(each, func(z []float32) { e.promptDone(r, z) })
		}
		row += c.tokens
	}
	e.mu.Lock()
	e.stats.PromptTokens += int64(computed)
	e.mu.Unlock()
	return e.m.Logits(rows, func(i int, z []float32) error { each[i](z); return nil })
}

// promptDone takes the logits behind a whole prompt: of the first token that is generated.
func (e *Engine) promptDone(r *request, z []float32) {
	r.result.change(func() {
		if r.PromptLogprobs && len(r.prompt) == 0 {
			r.prompt = []Token{{TokenLogprob: TokenLogprob{ID: r.Prompt[0]}}}
		}
		r.result.prompt = r.prompt
	})
	if r.MaxTokens == 0 {
		e.end(r, FinishLength, nil)
		return
	}
	e.sample(r, z)
}

// decode computes a token of each request, the host choosing it.
func (e *Engine) decode(requests []*request) error {
	if len(requests) == 0 {
		return nil
	}
	pass := model.Pass{Phase: device.Decode, Cache: e.cache}
	rows := make([]int, len(requests))
	for i, r := range requests {
		rows[i] = i
		pass.Chunks = append(pass.Chunks, model.Chunk{Slot: r.slot, Tokens: []int{r.last}})
	}
	if err := e.m.Forward(pass); err != nil {
		return e.voidPass(err, slices.Values(requests))
	}
	return e.m.Logits(rows, func(i int, z []float32) error { e.sample(requests[i], z); return nil })
}

// voidPass handles the error of a pass. Where the device had no memory for it, the pass is
// void and its requests end; the others go on.
func (e *Engine) voidPass(err error, requests func(yield func(*request) bool)) error {
	if !errors.Is(err, device.ErrMemory) {
		return err
	}
	slog.Error("a pass did not fit into the device's memory", "error", err)
	for r := range requests {
		e.end(r, FinishError, err)
	}
	return nil
}

// sample chooses a request's next token from the logits. An error or a panic that concerns
// only this request ends it, and no other.
func (e *Engine) sample(r *request, z []float32) {
	defer e.catch(r)
	token, err := r.sampler.Next(z)
	if err != nil {
		e.end(r, FinishError, err)
		return
	}
	e.deliver(r, r.token(token, z))
}

// token is a token with the probabilities that the request asked for, from the logits.
func (r *request) token(token int, z []float32) Token {
	if r.Logprobs {
		return withLogprobs(token, z, r.TopLogprobs)
	}
	return Token{TokenLogprob: TokenLogprob{ID: token}}
}

// catch ends a request after a panic that concerns only it. It is deferred.
func (e *Engine) catch(r *request) {
	if p := recover(); p != nil {
		slog.Error("panic while a token was sampled", "request", r.result.ID, "panic", p, "stack", string(debug.Stack()))
		e.end(r, FinishError, errors.New("internal error"))
	}
}

// deliver adds a generated token to a request's result and ends the request where it was
// the last one. An EOS token is not part of the text, but it is a token of the result.
func (e *Engine) deliver(r *request, t Token) {
	r.last = t.ID
	r.generated++
	if r.drafted {
		r.text = append(r.text, t.ID)
	}
	e.mu.Lock()
	e.stats.GeneratedTokens++
	e.mu.Unlock()
	r.result.change(func() {
		now := time.Now()
		t.At = now
		if r.generated == 1 {
			r.result.timing.FirstToken = now
		}
		r.result.tokens = append(r.result.tokens, t)
		switch {
		case !r.IgnoreEOS && slices.Contains(e.m.Config.EOS, t.ID):
			r.result.finish = FinishEOS
		case r.match != nil && r.match.Ended():
			r.result.finish = FinishEOS
		case r.generated == r.MaxTokens:
			r.result.finish = FinishLength
		}
		if r.result.finish != "" {
			r.result.timing.Finished = now
		}
	})
}

// launchGraph lets requests join the decoder and queues a decode step by graph, and a second
// one where nothing else runs in between and every request needs it.
func (e *Engine) launchGraph(requests []*request, more bool) error {
	if len(requests) == 0 {
		return nil
	}
	ahead := 2
	if more {
		ahead = 1
	}
	for _, r := range requests {
		if r.generated == 1 {
			if err := e.decoder.Join(r.slot, r.last, r.Sampling, r.sampler.Key(), r.sampler.Seen()); err != nil {
				return err
			}
		}
		ahead = min(ahead, r.MaxTokens-r.generated)
	}
	for e.decoder.InFlight() < ahead {
		queued, err := e.decoder.Launch()
		if err != nil {
			if e.decoder.InFlight() > 0 {
				return nil // what is under way comes first
			}
			return e.voidPass(err, slices.Values(requests))
		}
		if !queued {
			return nil
		}
		e.graphs++
	}
	return nil
}

// waitGraph takes the tokens of the oldest decode step by graph.
func (e *Engine) waitGraph() error {
	if e.decoder == nil || e.decoder.InFlight() == 0 {
		return nil
	}
	bySlot := map[int]*request{}
	for _, r := range e.running {
		bySlot[r.slot] = r
	}
	return e.decoder.Wait(func(slot, token int) {
		r := bySlot[slot]
		if r == nil {
			return
		}
		if token < 0 {
			e.end(r, FinishError, fmt.Errorf("position %d: %w", e.cache.Len(slot), generate.ErrNotFinite))
			return
		}
		r.sampler.Accept(token)
		e.deliver(r, Token{TokenLogprob: TokenLogprob{ID: token}})
	})
}
