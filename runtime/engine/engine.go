// Package engine runs many requests on one model: continuous batching over a paged KV
// cache. Requests arrive, run together in the steps of a batch, and leave, each at its own
// time. The tokens of a request are the same, bit by bit, whatever else is in the batch.
//
// One goroutine, that of Run, uses the device. Submit, Cancel and the methods of a Result
// may be called by any goroutine.
//
// A request is admitted when the cache has the pages that it can need at most; they are
// reserved, so that a request that has started cannot run out of memory. Prompts are computed
// in chunks beside the decode steps of other requests.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mop/internal/files"
	"mop/runtime/constrain"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Errors that callers branch on.
var (
	ErrQueueFull = errors.New("the queue is full")
	ErrClosed    = errors.New("the engine takes no more requests")
	ErrDevice    = errors.New("the device failed")
	ErrMemory    = errors.New("the request needs more memory than the KV cache has")
)

// Options of an engine.
type Options struct {
	MaxBatch   int    // sequences that run at a time
	MaxContext int    // positions of a sequence; 0 = the model's
	CacheBytes int64  // memory of the KV cache; 0 = enough for MaxBatch sequences of MaxContext positions
	QueueLimit int    // requests that wait; 0 = 16 for each sequence that runs
	StepTokens int    // tokens that a step computes; 0 = as many as suit the device
	Draft      *Draft // proposes tokens; nil = there is none
	Prefixes   int    // beginnings of prompts that are kept for later requests; 0 = none
}

// Engine runs requests on a model, which nothing else may use meanwhile.
type Engine struct {
	m     *model.Model
	cache *kvcache.Cache
	o     Options

	turn    sync.Locker         // of the engines that share the device; nil = there is one
	decoder *model.GraphDecoder // nil where the device does not decode by graphs
	draft   *drafter            // nil = there is none

	prefixes *prefixes // nil = none are kept

	mu       sync.Mutex
	waiting  []*request
	canceled map[uint64]bool
	nextID   uint64
	closed   bool
	failed   error // the device's; the engine runs no more
	stats    Stats
	wake     chan struct{}

	running  []*request // of the goroutine that steps
	steps    int
	graphs   int // launches of decode graphs
	maskWork int // for masks that a step does at most
	masked   int // work for masks in the last step
}

// request is a request with its state.
type request struct {
	Request
	result  *Result
	slot    int // of the cache
	pages   int // that it needs at most
	sampler *generate.Sampler
	match   *constrain.Match // the text so far; nil = any may follow
	ready   bool             // what may follow is known

	keys      []prefixKey        // of the beginnings of the prompt
	computed  int                // positions of the prompt
	images    []model.Embeddings // those that were computed
	generated int
	last      int // token that was generated last
	prompt    []Token

	// Of a request that the draft proposes tokens of.
	drafted      bool // it has a slot of the draft's cache
	draftSlot    int
	draftSampler *generate.Sampler
	text         []int // prompt and generated tokens
	proposals    []proposal
	refused      bool // one of the proposals
}

// Stats describes the engine's present state and its work so far.
type Stats struct {
	Running, Waiting  int   // requests
	PagesUsed, Pages  int   // of the KV cache; of the model's and the draft's the larger number
	Drafted, Accepted int64 // tokens that the draft proposed, and of them those that the model accepted
	Checked           int64 // proposals that the model decided about: those behind a refused one are void
	DraftSteps        int64 // steps with proposals
	PrefixQueries     int64 // tokens of prompts that kept beginnings were looked up for
	PrefixHits        int64 // of these, tokens that were found and not computed again
	PromptTokens      int64
	GeneratedTokens   int64
	Steps             int64
	MaxContext, Slots int
}

// New makes an engine. Close frees its memory.
func New(m *model.Model, o Options) (*Engine, error) {
	if o.MaxContext == 0 {
		o.MaxContext = m.Config.MaxPositions
	}
	if o.QueueLimit == 0 {
		o.QueueLimit = 16 * o.MaxBatch
	}
	if o.StepTokens == 0 {
		o.StepTokens = m.PrefillRows()
	}
	switch {
	case o.Prefixes < 0:
		return nil, fmt.Errorf("engine: want 0 or more prefixes, got %d", o.Prefixes)
	case o.MaxBatch < 1 || o.QueueLimit < 1 || o.StepTokens < 1:
		return nil, fmt.Errorf("engine: want a batch, a queue and steps of at least 1, got %d, %d and %d", o.MaxBatch, o.QueueLimit, o.StepTokens)
	case o.MaxContext < 1 || o.MaxContext > m.Config.MaxPositions:
		return nil, fmt.Errorf("engine: want a context of 1 to %d positions, got %d", m.Config.MaxPositions, o.MaxContext)
	}
	e := &Engine{m: m, o: o, canceled: map[uint64]bool{}, wake: make(chan struct{}, 1), maskWork: maskWork}
	if err := e.makeCaches(); err != nil {
		return nil, err
	}
	cache := e.cache
	if o.Prefixes > 0 && cache.PageSize() > 0 { // a model without heads has no pages
		if !cache.CanShare() {
			e.Close()
			return nil, fmt.Errorf("engine: device %s cannot share pages of prompts", m.Device().Capabilities().Name)
		}
		e.prefixes = newPrefixes(cache, o.Prefixes, o.StepTokens)
	}
	if m.DecodesByGraph() && e.draft == nil {
		var err error
		if e.decoder, err = m.GraphDecoder(cache); err != nil {
			cache.Close()
			return nil, err
		}
	}
	_, pages := cache.Pages()
	if e.draft != nil { // only a model or a draft without heads has another number of pages: none
		_, others := e.draft.cache.Pages()
		pages = max(pages, others)
	}
	e.stats = Stats{Pages: pages, MaxContext: o.MaxContext, Slots: o.MaxBatch}
	return e, nil
}

// makeCaches makes the KV cache of the model, and that of its draft.
func (e *Engine) makeCaches() (err error) {
	o := kvcache.Options{Slots: e.o.MaxBatch + e.o.Prefixes, FullSlots: e.o.MaxBatch, MaxPositions: e.o.MaxContext, MemoryLimit: e.o.CacheBytes}
	if e.o.Draft == nil {
		e.cache, err = kvcache.New(e.m.Device(), e.m.Config, o)
		return err
	}
	e.draft = &drafter{Draft: *e.o.Draft}
	e.cache, e.draft.cache, err = newCaches(e.m, e.draft.Draft, o)
	return err
}

// pagesFor is the number of pages that a request needs in a cache of the engine.
func (e *Engine) pagesFor(r *Request) int {
	pages := e.cache.PagesFor(r.positions())
	if e.draft != nil {
		pages = max(pages, e.draft.cache.PagesFor(r.positions()))
	}
	return pages
}

// Submit adds requests to the queue, all or none. It refuses those that can never run,
// with a reason, and returns ErrQueueFull where the queue has no room.
func (e *Engine) Submit(requests ...Request) ([]*Result, error) {
	for i := range requests {
		r := &requests[i]
		if err := r.check(e.m.Config.VocabSize, e.o.MaxContext); err != nil {
			return nil, err
		}
		if need := e.pagesFor(r); need > e.stats.Pages {
			return nil, fmt.Errorf("%w: %d tokens need %d pages of %d", ErrMemory, r.positions(), need, e.stats.Pages)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.failed != nil:
		return nil, e.failed
	case e.closed:
		return nil, ErrClosed
	case len(e.waiting)+len(requests) > e.o.QueueLimit:
		return nil, fmt.Errorf("%w: %d requests wait", ErrQueueFull, len(e.waiting))
	}
	var results []*Result
	for _, r := range requests {
		e.nextID++
		result := &Result{ID: e.nextID, more: make(chan struct{}, 1), timing: Timing{Arrived: time.Now()}}
		waiting := &request{Request: r, result: result, pages: e.cache.PagesFor(r.positions())}
		if e.prefixes != nil {
			waiting.keys = e.prefixes.keysOf(&r)
		}
		e.waiting = append(e.waiting, waiting)
		results = append(results, result)
	}
	e.stats.Waiting = len(e.waiting)
	e.signal()
	return results, nil
}

// QueueLimit is how many requests can wait.
func (e *Engine) QueueLimit() int { return e.o.QueueLimit }

// Cancel ends a request before the next step. One that has ended already is left as it is.
func (e *Engine) Cancel(results ...*Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range results {
		if r.Finish() == "" {
			e.canceled[r.ID] = true
		}
	}
	e.signal()
}

// signal wakes Run.
func (e *Engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Stats describes the engine's present state and its work so far.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Err is the failure of the device after which the engine runs no more, nil as long as it runs.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

// Stop makes Submit refuse further requests. Run returns when those that it has are done.
func (e *Engine) Stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.signal()
}

// ShareDevice makes Run hold a lock during each step, for engines that share a device. It is
// called before Run.
func (e *Engine) ShareDevice(turn sync.Locker) { e.turn = turn }

// Run steps until Stop was called and all requests have ended, or ctx ends, which cancels
// them, or the device fails. A step that fails while the device works ends the requests that
// run, and no others.
func (e *Engine) Run(ctx context.Context) error {
	defer files.Guard()()
	for {
		busy, err := e.runStep()
		if err != nil {
			if err = e.recoverFrom(err); err != nil {
				e.fail(err)
				return err
			}
			continue
		}
		if busy && ctx.Err() == nil {
			continue
		}
		e.mu.Lock()
		closed := e.closed && len(e.waiting) == 0
		e.mu.Unlock()
		if closed && !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			e.Stop()
			e.endAll(FinishCanceled, ErrClosed)
			return ctx.Err()
		case <-e.wake:
		}
	}
}

// fail ends all requests with the device's error.
func (e *Engine) fail(err error) {
	e.mu.Lock()
	e.failed = err
	e.mu.Unlock()
	e.endAll(FinishError, err)
}

// endAll ends all requests.
func (e *Engine) endAll(why Finish, err error) {
	for _, r := range e.running {
		e.end(r, why, err)
	}
	e.removeEnded()
	e.mu.Lock()
	waiting := e.waiting
	e.waiting = nil
	e.mu.Unlock()
	for _, r := range waiting {
		e.end(r, why, err)
	}
	e.updateStats()
}

// Close frees the memory of the KV cache. Run must have returned.
func (e *Engine) Close() error {
	var err error
	if e.decoder != nil {
		err = e.decoder.Close()
	}
	if e.draft != nil {
		e.draft.cache.Close()
	}
	e.cache.Close()
	return err
}
