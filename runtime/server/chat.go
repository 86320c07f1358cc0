package server

import (
	"net/http"
	"time"

	"mop/runtime/engine"
)

// chatCompletion is the answer of /v1/chat/completions.
type chatCompletion struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   *usage       `json:"usage,omitempty"`
	Timings *timings     `json:"timings,omitempty"`
}

// chatChoice has a message in a whole answer, and a delta in a part of a stream.
type chatChoice struct {
	Index        int           `json:"index"`
	Message      *chatMessage  `json:"message,omitempty"`
	Delta        *chatMessage  `json:"delta,omitempty"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

type chatMessage struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatLogprobs struct {
	Content []chatLogprob `json:"content"`
}

type chatLogprob struct {
	tokenLogprob
	Top []tokenLogprob `json:"top_logprobs"`
}

type tokenLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// chatRequest is a body of /v1/chat/completions.
type chatRequest struct {
	*generation
	prompt   []int
	logprobs bool
}

func (s *Server) readChat(f *fields) (*chatRequest, *apiError) {
	c := &chatRequest{generation: s.readGeneration(f)}
	if c.model == nil {
		return nil, f.err
	}
	c.logprobs = f.boolean("logprobs", false)
	c.base.Logprobs = c.logprobs
	if f.has("top_logprobs") && !c.logprobs {
		f.fail("top_logprobs", "needs logprobs: true")
	}
	c.base.TopLogprobs = f.integer("top_logprobs", 0, 0, maxTopLogprobs)
	c.explicit = f.has("max_tokens") || f.has("max_completion_tokens")
	c.base.MaxTokens = f.integer("max_tokens", maxInt, 1, maxInt)
	c.base.MaxTokens = f.integer("max_completion_tokens", c.base.MaxTokens, 1, maxInt)
	if c.base.Rules.MinTokens > c.base.MaxTokens {
		f.fail("min_tokens", "want at most the largest number of tokens, %d, got %d", c.base.MaxTokens, c.base.Rules.MinTokens)
	}
	f.neutral("tools", `[]`)
	f.neutral("functions", `[]`)
	f.neutral("tool_choice", `"none"`, `"auto"`)
	f.neutral("function_call", `"none"`, `"auto"`)
	f.neutral("modalities", `["text"]`)
	f.neutral("store", `false`)
	f.neutral("service_tier", `"auto"`, `"default"`)
	f.neutral("add_generation_prompt", `true`)
	f.neutral("echo", `false`)
	f.ignore("metadata", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
	turns := readMessages(f, chatContent.of(c.model))
	if err := f.end(); err != nil {
		return nil, err
	}
	return c, c.render(turns)
}

func (s *Server) chatCompletions(w http.ResponseWriter, r *http.Request) {
	f, bad := readFields(w, r, s.chatBody())
	if bad != nil {
		bad.write(w)
		return
	}
	c, bad := s.readChat(f)
	if bad != nil {
		bad.write(w)
		return
	}
	choices, bad := c.submit([][]int{c.prompt})
	if bad != nil {
		bad.write(w)
		return
	}
	defer s.finish(r, choices)
	s.stillReading(w)
	head := chatCompletion{ID: newID("chatcmpl-"), Object: "chat.completion", Created: time.Now().Unix(), Model: c.model.Name}
	if c.stream {
		head.Object = "chat.completion.chunk"
		s.streamChat(w, r, c, head, choices)
		return
	}
	for i, choice := range choices {
		text, tokens, err := choice.collect(r.Context())
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		head.Choices = append(head.Choices, chatChoice{Index: i, Message: &chatMessage{"assistant", &text}, Logprobs: c.listLogprobs(tokens), FinishReason: &choice.finish})
	}
	u := totals(choices, c.n)
	head.Usage, head.Timings = &u, choices[0].timings()
	s.answer(w, head)
}

func (s *Server) streamChat(w http.ResponseWriter, r *http.Request, c *chatRequest, head chatCompletion, choices []*choice) {
	out := s.startStream(w)
	send := func(one chatChoice, t *timings) error {
		chunk := head
		chunk.Choices, chunk.Timings = []chatChoice{one}, t
		return out.send("", chunk)
	}
	for i := range choices {
		if send(chatChoice{Index: i, Delta: &chatMessage{"assistant", new(string)}}, nil) != nil {
			return
		}
	}
	for p := range parts(r.Context(), choices) {
		if p.err != nil {
			out.fail(p.err)
			return
		}
		if p.text != "" || c.logprobs && len(p.tokens) > 0 {
			if send(chatChoice{Index: p.index, Delta: &chatMessage{Content: &p.text}, Logprobs: c.listLogprobs(p.tokens)}, nil) != nil {
				return
			}
		}
		if p.finish != "" {
			if send(chatChoice{Index: p.index, Delta: &chatMessage{}, FinishReason: &p.finish}, choices[p.index].timings()) != nil {
				return
			}
		}
	}
	if r.Context().Err() != nil {
		return
	}
	if c.usage {
		u := totals(choices, c.n)
		head.Choices, head.Usage = []chatChoice{}, &u
		if out.send("", head) != nil {
			return
		}
	}
	out.done()
}

// listLogprobs lists tokens with their probabilities, nil where they were not asked for.
func (c *chatRequest) listLogprobs(tokens []engine.Token) *chatLogprobs {
	if !c.logprobs {
		return nil
	}
	one := func(t engine.TokenLogprob) tokenLogprob {
		out := tokenLogprob{c.model.tokenText(t.ID), t.Logprob, []int{}}
		for _, b := range c.model.Tokenizer.Piece(t.ID) {
			out.Bytes = append(out.Bytes, int(b))
		}
		return out
	}
	l := &chatLogprobs{Content: []chatLogprob{}}
	for _, t := range tokens {
		x := chatLogprob{one(t.TokenLogprob), []tokenLogprob{}}
		for _, top := range t.Top {
			x.Top = append(x.Top, one(top))
		}
		l.Content = append(l.Content, x)
	}
	return l
}
