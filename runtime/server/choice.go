package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"mop/runtime/constrain"
	"mop/runtime/engine"
	"mop/runtime/generate"
	"mop/runtime/tokenizer"
)

// choice turns the tokens of one result into text: whole characters only, and nothing of a
// stop string.
type choice struct {
	model  *Model
	result *engine.Result
	prompt []int

	decoder   *tokenizer.Stream
	text      strings.Builder // that was not handed out yet
	filter    generate.StopFilter
	minTokens int    // before which no stop string counts
	format    string // the field of the request that has the form of the text

	generated int
	finish    string // "" while it runs
	stop      string // the stop string that was found
	first     time.Time
	last      time.Time
	intervals []time.Duration // between tokens
}

func newChoice(g *generation, result *engine.Result, r *engine.Request) *choice {
	m := g.model
	c := &choice{model: m, result: result, prompt: r.Prompt, minTokens: r.Rules.MinTokens, format: g.format, decoder: m.Tokenizer.Stream(r.Prompt[len(r.Prompt)-1])}
	c.filter = generate.StopFilter{W: &c.text, Stops: g.stops}
	return c
}

// next waits for more tokens and returns them with the text that they complete. After a stop
// string the request is canceled.
func (c *choice) next(ctx context.Context) (text string, tokens []engine.Token, err error) {
	got, done, err := c.result.Next(ctx)
	if errors.Is(err, constrain.ErrTooComplex) || errors.Is(err, constrain.ErrNoToken) {
		err = badField(c.format, "%v", err)
	}
	if err != nil {
		return "", nil, err
	}
	for _, t := range got {
		tokens = append(tokens, t)
		if err := c.push(t); err != nil {
			return "", nil, err
		}
		if c.finish != "" {
			c.model.Engine.Cancel(c.result)
			break
		}
	}
	if done && c.finish == "" {
		if c.finish = string(c.result.Finish()); c.finish == string(engine.FinishCanceled) {
			return "", nil, engine.ErrClosed
		}
		c.filter.Write(c.decoder.Flush())
		if c.filter.Stopped {
			c.finish = "stop"
		}
		c.filter.Flush()
	}
	text = c.text.String()
	c.text.Reset()
	return text, tokens, nil
}

// push takes the next token.
func (c *choice) push(t engine.Token) error {
	if c.generated++; c.generated == 1 {
		c.first = t.At
	} else {
		c.intervals = append(c.intervals, t.At.Sub(c.last))
	}
	c.last = t.At
	if !c.model.Tokenizer.Has(t.ID) { // a vocabulary may be padded with rows that belong to no token
		return nil
	}
	text, err := c.decoder.Push(t.ID)
	if err != nil {
		return err
	}
	if c.generated <= c.minTokens {
		c.text.Write(text)
		return nil
	}
	if c.filter.Write(text); c.filter.Stopped {
		c.finish, c.stop = "stop", c.filter.Found
	}
	return nil
}

// tokenText is how a token is written in lists of tokens: its text, or its bytes where they
// are only a part of a character.
func (m *Model) tokenText(id int) string {
	piece := m.Tokenizer.Piece(id)
	if utf8.Valid(piece) {
		return string(piece)
	}
	var b strings.Builder
	b.WriteString("bytes:")
	for _, x := range piece {
		fmt.Fprintf(&b, `\x%02x`, x)
	}
	return b.String()
}

// usage counts the tokens of a request.
type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// timings has the names of llama-server's object.
type timings struct {
	QueueMS         float64 `json:"queue_ms"`
	PromptN         int     `json:"prompt_n"`
	PromptMS        float64 `json:"prompt_ms"`
	PromptPerSecond float64 `json:"prompt_per_second"`
	TokensN         int     `json:"predicted_n"`
	TokensMS        float64 `json:"predicted_ms"`
	PerTokenMS      float64 `json:"predicted_per_token_ms"`
	TokensPerSecond float64 `json:"predicted_per_second"`
}

// timings describes a choice that has ended.
func (c *choice) timings() *timings {
	at := c.result.Timing()
	t := &timings{PromptN: len(c.prompt), TokensN: c.generated}
	if !at.Started.IsZero() {
		t.QueueMS = milliseconds(at.Started.Sub(at.Arrived))
	}
	if !c.first.IsZero() {
		t.PromptMS = milliseconds(c.first.Sub(at.Started))
		t.PromptPerSecond = perSecond(len(c.prompt), c.first.Sub(at.Started))
		t.TokensMS = milliseconds(c.last.Sub(c.first))
		if n := c.generated - 1; n > 0 {
			t.PerTokenMS = t.TokensMS / float64(n)
			t.TokensPerSecond = perSecond(n, c.last.Sub(c.first))
		}
	}
	return t
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
