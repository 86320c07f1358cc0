package server

import (
	"context"
	"iter"
	"net/http"
	"sync"
	"time"

	"mop/runtime/engine"
)

// submit queues the sequences of a request: n for each prompt.
func (g *generation) submit(prompts [][]int) ([]*choice, *apiError) {
	var requests []engine.Request
	for _, p := range prompts {
		for i := range g.n {
			r := g.base
			r.Prompt, r.Sequence, r.PrefixKey = p, i, g.model.prefix
			g.limitTokens(&r)
			requests = append(requests, r)
		}
	}
	if limit := g.model.Engine.QueueLimit(); len(requests) > limit {
		return nil, badField("n", "want at most %d sequences in a request, got %d prompts times %d", limit, len(prompts), g.n)
	}
	results, err := g.model.Engine.Submit(requests...)
	if err != nil {
		return nil, asAPIError(err)
	}
	choices := make([]*choice, len(results))
	for i, r := range results {
		choices[i] = newChoice(g, r, &requests[i])
	}
	return choices, nil
}

// finish cancels what still runs and counts the request in the metrics.
func (s *Server) finish(r *http.Request, choices []*choice) {
	for _, c := range choices {
		c.model.Engine.Cancel(c.result)
		s.metrics.count(c)
		s.o.Logger.Info("generated", "id", r.Context().Value(requestID), "model", c.model.Name, "sequence", c.result.ID, "prompt", len(c.prompt), "tokens", c.generated, "finish", c.finish)
	}
}

// part is what a choice of a stream adds.
type part struct {
	index  int
	text   string
	tokens []engine.Token
	finish string // "" while it goes on
	err    error
}

// parts follows some choices at a time and yields what they add, until all have ended, one
// has failed, or ctx ends. Where the loop over it is left, nothing reads the choices any more.
func parts(ctx context.Context, choices []*choice) iter.Seq[part] {
	return func(yield func(part) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		out := make(chan part)
		left := 0
		for i, c := range choices {
			if c.finish == "" {
				left++
				running.Go(func() { c.send(ctx, i, out) })
			}
		}
		for left > 0 {
			select {
			case p := <-out:
				if !yield(p) {
					return
				}
				if p.finish != "" || p.err != nil {
					left--
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// send sends what a choice adds until it has ended or failed, or ctx ends.
func (c *choice) send(ctx context.Context, index int, out chan<- part) {
	for c.finish == "" {
		p := part{index: index}
		p.text, p.tokens, p.err = c.next(ctx)
		p.finish = c.finish
		select {
		case out <- p:
		case <-ctx.Done():
			return
		}
		if p.err != nil {
			return
		}
	}
}

// collect waits for the whole text of a choice.
func (c *choice) collect(ctx context.Context) (text string, tokens []engine.Token, err error) {
	for c.finish == "" {
		t, more, err := c.next(ctx)
		if err != nil {
			return "", nil, err
		}
		text += t
		tokens = append(tokens, more...)
	}
	return text, tokens, nil
}

// totals counts the tokens of choices; those of a prompt count once.
func totals(choices []*choice, n int) usage {
	var u usage
	for i, c := range choices {
		if i%n == 0 {
			u.PromptTokens += len(c.prompt)
		}
		u.CompletionTokens += c.generated
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	return u
}

// stillReading lets the answer of a request take as long as it needs: the deadlines of the
// server are for the request itself. What is written later has deadlines of its own.
func (s *Server) stillReading(w http.ResponseWriter) {
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Time{})
	rc.SetWriteDeadline(time.Time{})
}

// answer writes a whole answer.
func (s *Server) answer(w http.ResponseWriter, v any) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.o.WriteTimeout))
	writeJSON(w, v)
}
