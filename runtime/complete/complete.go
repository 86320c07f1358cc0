// Package complete continues texts: it turns a prompt into tokens, generates with a model
// and, where there is one, a draft model, and writes the text as it comes.
package complete

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"mop/runtime/generate"
	"mop/runtime/model"
	"mop/runtime/open"
	"mop/runtime/timing"
	"mop/runtime/tokenizer"
)

// ErrEmpty says that a prompt has no tokens, so that there is nothing to continue.
var ErrEmpty = errors.New("an empty prompt needs a BOS token, and the tokenizer has none")

// Completer continues texts with one model.
type Completer struct {
	Tokenizer *tokenizer.Tokenizer
	Model     *open.Model
	Draft     *Draft // nil for none
}

// Encode turns a prompt into tokens, with BOS in front where the model has one. special
// says that the text of special tokens gives these tokens.
func Encode(t *tokenizer.Tokenizer, text []byte, special bool) ([]int, error) {
	tokens, err := t.Encode(text, tokenizer.EncodeOptions{BOS: true, Special: special})
	if err == nil && len(tokens) == 0 {
		err = ErrEmpty
	}
	return tokens, err
}

// Continue writes the continuation of a prompt to out as it is generated. It ends where the
// context is full.
func (c *Completer) Continue(ctx context.Context, prompt []int, o generate.Options, out *generate.StopFilter) (*timing.Throughput, error) {
	m := c.Model
	positions := m.Config.MaxPositions
	if len(prompt) > positions {
		return nil, m.Wrap(fmt.Errorf("prompt of %d tokens: %w of %d", len(prompt), model.ErrContext, positions))
	}
	// The last token that is sampled needs no position.
	limit := positions - len(prompt) + 1
	limited := o.MaxTokens > limit
	if limited && o.IgnoreEOS {
		return nil, m.Wrap(fmt.Errorf("prompt of %d tokens and %d more: %w of %d", len(prompt), o.MaxTokens, model.ErrContext, positions))
	}
	o.MaxTokens = min(o.MaxTokens, limit)

	w := &writer{tokenizer: c.Tokenizer, decoder: c.Tokenizer.Stream(prompt[len(prompt)-1]), out: out, throughput: timing.StartThroughput(len(prompt))}
	if err := c.generate(ctx, prompt, o, w.emit); err != nil {
		return nil, m.Wrap(err)
	}
	if err := w.end(); err != nil {
		return nil, err
	}
	if limited && w.tokens == limit && !out.Stopped {
		slog.Warn("the context is full", "tokens", positions)
	}
	return w.throughput, nil
}

// generate calls emit with each new token until it returns true.
func (c *Completer) generate(ctx context.Context, prompt []int, o generate.Options, emit func(token int) (done bool)) error {
	m := c.Model
	cache, err := open.Cache(m.Device(), m.Config, 1, min(len(prompt)+o.MaxTokens, m.Config.MaxPositions))
	if err != nil {
		return err
	}
	defer cache.Close()
	if c.Draft != nil {
		return c.Draft.generate(ctx, m, cache, prompt, o, emit)
	}
	return generate.Run(ctx, m.Model, cache, [][]int{prompt}, o, func(_, tokens []int) []int {
		if emit(tokens[0]) {
			return []int{0}
		}
		return nil
	})
}

// writer turns tokens into text.
type writer struct {
	tokenizer  *tokenizer.Tokenizer
	decoder    *tokenizer.Stream
	out        *generate.StopFilter
	throughput *timing.Throughput
	tokens     int
	err        error
}

func (w *writer) emit(token int) (done bool) {
	w.tokens++
	w.throughput.Add()
	var text []byte
	if w.tokenizer.Has(token) { // a vocabulary may be padded with rows that belong to no token
		text, w.err = w.decoder.Push(token)
	}
	if w.err == nil {
		_, w.err = w.out.Write(text)
	}
	return w.err != nil || w.out.Stopped
}

// end writes what the decoder and the filter still hold back.
func (w *writer) end() error {
	if w.err != nil {
		return w.err
	}
	if !w.out.Stopped {
		if _, err := w.out.Write(w.decoder.Flush()); err != nil {
			return err
		}
	}
	return w.out.Flush()
}
