package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mop/runtime/constrain"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/model"
)

// Request asks for the continuation of a prompt.
type Request struct {
	Prompt    []int // at least one token
	MaxTokens int   // to generate; 0 = only the prompt is computed
	Sampling  device.SamplingParams
	Rules     generate.LogitRules
	Sequence  int // number of the sequence among those of one seed, which have different random numbers
	IgnoreEOS bool
	Images    []Image // of the prompt, in the order of their positions
	// Grammar is the texts that may be generated; nil = any. The request ends with its text.
	Grammar *constrain.Grammar
	// PrefixKey selects the requests that this one may share pages of equal prompts with,
	// where the engine keeps some: those of the same key. "" = none.
	PrefixKey string

	Logprobs       bool // of the generated tokens
	PromptLogprobs bool // of the prompt's tokens
	TopLogprobs    int  // most probable tokens at each of these positions
}

// Image is embeddings that take the place of those of some of a prompt's tokens, such as
// those of a picture. They are computed when the request runs.
type Image struct {
	At, Tokens int // position of the first one in the prompt, and how many there are
	// Compute gives the embeddings [Tokens, D]. The engine's goroutine calls it, so that it
	// may use the device.
	Compute func() ([]float32, error)
}

// checkImages refuses images that do not lie one behind the other in the prompt.
func (r *Request) checkImages() error {
	end := 0
	for i, m := range r.Images {
		if m.At < end || m.Tokens < 1 || m.At+m.Tokens > len(r.Prompt) || m.Compute == nil {
			return fmt.Errorf("image %d: want tokens %d to %d within a prompt of %d, behind those of the image before", i, m.At, m.At+m.Tokens-1, len(r.Prompt))
		}
		end = m.At + m.Tokens
	}
	return nil
}

// needsLogits reports whether the host must see the logits of every step.
func (r *Request) needsLogits() bool { return r.Logprobs || r.Rules.Any() || r.Grammar != nil }

// check refuses what no model can do. V is the size of the vocabulary.
func (r *Request) check(V, context int) error {
	if len(r.Prompt) == 0 {
		return errors.New("prompt: want at least one token, got none")
	}
	for i, token := range r.Prompt {
		if token < 0 || token >= V {
			return fmt.Errorf("prompt: token %d at position %d: %w of %d", token, i, model.ErrVocabulary, V)
		}
	}
	if r.MaxTokens < 0 {
		return fmt.Errorf("max tokens: want 0 or more, got %d", r.MaxTokens)
	}
	if r.MaxTokens > context || r.positions() > context {
		return fmt.Errorf("prompt of %d tokens and %d to generate: %w of %d", len(r.Prompt), r.MaxTokens, model.ErrContext, context)
	}
	for token := range r.Rules.Bias {
		if token < 0 || token >= V {
			return fmt.Errorf("logit bias: token %d: %w of %d", token, model.ErrVocabulary, V)
		}
	}
	if err := r.checkImages(); err != nil {
		return err
	}
	if r.Grammar != nil && (r.IgnoreEOS || r.Rules.MinTokens > 0) {
		return errors.New("a request with a grammar ends when its text is complete: want neither a minimum of tokens nor an EOS that is ignored")
	}
	return r.Sampling.Check()
}

// positions is how many positions of the cache a request takes at most. The last token that
// is sampled needs none.
func (r *Request) positions() int { return len(r.Prompt) + max(r.MaxTokens-1, 0) }

// TokenLogprob is the logarithm of a token's probability, in nats. The probability is that of
// the model, before sampling parameters change it.
type TokenLogprob struct {
	ID      int
	Logprob float64
}

// Token is a token of a result. Logprob and Top are those that the request asked for.
type Token struct {
	TokenLogprob
	Top []TokenLogprob // the most probable tokens at this position, the first one first
	At  time.Time      // when it was generated
}

// Finish says why a request ended.
type Finish string

// The ways in which a request ends. A server has further reasons of its own, such as a stop
// string.
const (
	FinishEOS      Finish = "stop"
	FinishLength   Finish = "length"
	FinishCanceled Finish = "canceled"
	FinishError    Finish = "error"
)

// Timing is when a request passed the stages of its life. A stage that it did not reach is zero.
type Timing struct {
	Arrived, Started, FirstToken, Finished time.Time
}

// Result is what a request has given so far. It may be read by another goroutine than the one
// that runs the engine. It keeps all tokens that were not read yet, at most as many as
// the request asks for, so that a slow reader never delays a step.
type Result struct {
	ID uint64

	mu     sync.Mutex
	tokens []Token // not read yet
	prompt []Token
	finish Finish
	err    error
	timing Timing
	more   chan struct{} // has an element when there is something to read
}

// Next waits until there are tokens that were not read yet, or the request has ended, or ctx
// has. After done there are no more tokens.
func (r *Result) Next(ctx context.Context) (tokens []Token, done bool, err error) {
	for {
		r.mu.Lock()
		tokens, r.tokens = r.tokens, nil
		done, err = r.finish != "", r.err
		r.mu.Unlock()
		if len(tokens) > 0 || done {
			return tokens, done, err
		}
		select {
		case <-r.more:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// Prompt gives the prompt's tokens with their logarithms of probability, if the request
// asked for them and its first token is there. The first token of a prompt has no
// probability; its Top is nil.
func (r *Result) Prompt() []Token {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prompt
}

// Finish says why the request ended, "" while it runs.
func (r *Result) Finish() Finish {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finish
}

// Timing says when the request passed the stages of its life.
func (r *Result) Timing() Timing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.timing
}

// change applies a change and wakes the reader.
func (r *Result) change(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}
