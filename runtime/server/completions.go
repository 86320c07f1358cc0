package server

import (
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"mop/runtime/engine"
	"mop/runtime/tokenizer"
)

// completion is the answer of /v1/completions, and a part of it in a stream.
type completion struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []completionChoice `json:"choices"`
	Usage   *usage             `json:"usage,omitempty"`
	Timings *timings           `json:"timings,omitempty"`
}

type completionChoice struct {
	Index        int                 `json:"index"`
	Text         string              `json:"text"`
	Logprobs     *completionLogprobs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason"`
}

// completionLogprobs has an element for each token in each list.
type completionLogprobs struct {
	Tokens        []string             `json:"tokens"`
	TokenLogprobs []*float64           `json:"token_logprobs"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
	TextOffset    []int                `json:"text_offset"`
}

// completionRequest is a body of /v1/completions.
type completionRequest struct {
	*generation
	prompts  [][]int
	texts    []string // of the prompts, for echo
	echo     bool
	logprobs bool
}

func (s *Server) readCompletion(f *fields) (*completionRequest, *apiError) {
	c := &completionRequest{generation: s.readGeneration(f)}
	if c.model == nil {
		return nil, f.err
	}
	c.echo = f.boolean("echo", false)
	if c.logprobs = f.has("logprobs"); c.logprobs {
		c.base.TopLogprobs = f.integer("logprobs", 0, 0, maxTopLogprobs)
		c.base.Logprobs, c.base.PromptLogprobs = true, c.echo
	}
	least := 1
	if c.echo {
		least = 0
	}
	c.explicit = f.has("max_tokens")
	c.base.MaxTokens = f.integer("max_tokens", 16, least, maxInt)
	if c.base.Rules.MinTokens > c.base.MaxTokens {
		f.fail("min_tokens", "want at most max_tokens, %d, got %d", c.base.MaxTokens, c.base.Rules.MinTokens)
	}
	if best := f.integer("best_of", c.n, 1, maxN); best != c.n {
		f.fail("best_of", "is not supported, except with the value of n")
	}
	f.neutral("suffix", `""`)
	bos := f.boolean("add_special_tokens", true)
	raw, ok := f.take("prompt")
	if !ok {
		f.fail("prompt", "is required")
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	if err := c.readPrompts(raw, bos); err != nil {
		return nil, err
	}
	return c, nil
}

// readPrompts reads a text, texts, token ids, or arrays of token ids.
func (c *completionRequest) readPrompts(raw json.RawMessage, bos bool) *apiError {
	var items []json.RawMessage
	if raw[0] == '[' {
		if err := json.Unmarshal(raw, &items); err != nil || len(items) == 0 {
			return badField("prompt", "want a text, an array of texts, an array of token ids, or an array of such arrays, got %s", clip(raw))
		}
		if first := items[0][0]; first != '"' && first != '[' { // one prompt of token ids
			items = []json.RawMessage{raw}
		}
	} else {
		items = []json.RawMessage{raw}
	}
	if len(items) > maxPrompts {
		return badField("prompt", "want at most %d prompts, got %d", maxPrompts, len(items))
	}
	for i, item := range items {
		var ids []int
		var err error
		switch item[0] {
		case '"':
			var text string
			if err := json.Unmarshal(item, &text); err != nil {
				return badField("prompt", "prompt %d: want a text, got %s", i, clip(item))
			}
			ids, err = c.model.Tokenizer.Encode([]byte(text), tokenizer.EncodeOptions{BOS: bos, EOS: bos, Special: true})
			c.texts = append(c.texts, text)
		case '[':
			if ids, err = tokens(item, c.model.config.VocabSize); err == nil && c.echo {
				var text []byte
				text, err = c.model.decode(ids)
				c.texts = append(c.texts, string(text))
			}
		default:
			return badField("prompt", "prompt %d: want a text or an array of token ids, got %s", i, clip(item))
		}
		if err != nil {
			return badField("prompt", "prompt %d: %v", i, err)
		}
		if err := c.model.checkPlaceholders(ids); err != nil {
			return badField("prompt", "prompt %d: %v", i, err)
		}
		if len(ids) == 0 {
			return badField("prompt", "prompt %d: want at least one token, got none", i)
		}
		c.prompts = append(c.prompts, ids)
	}
	return nil
}

// decode gives the text of token ids. Ids of a padded vocabulary that belong to no token have none.
func (m *Model) decode(ids []int) ([]byte, error) {
	var known []int
	for _, id := range ids {
		if m.Tokenizer.Has(id) {
			known = append(known, id)
		}
	}
	return m.Tokenizer.Decode(known)
}

func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	f, bad := readFields(w, r, s.o.MaxBody)
	if bad != nil {
		bad.write(w)
		return
	}
	c, bad := s.readCompletion(f)
	if bad != nil {
		bad.write(w)
		return
	}
	choices, bad := c.submit(c.prompts)
	if bad != nil {
		bad.write(w)
		return
	}
	defer s.finish(r, choices)
	s.stillReading(w)
	head := completion{ID: newID("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: c.model.Name}
	if c.stream {
		s.streamCompletion(w, r, c, head, choices)
		return
	}
	for i, choice := range choices {
		text, tokens, err := choice.collect(r.Context())
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		l, list := c.newLogprobs(), c.lister(choice.prompt)
		if c.echo {
			text = c.texts[i/c.n] + text
			list.add(l, choice.result.Prompt())
		}
		list.add(l, tokens)
		head.Choices = append(head.Choices, completionChoice{Index: i, Text: text, Logprobs: l, FinishReason: &choice.finish})
	}
	u := totals(choices, c.n)
	head.Usage, head.Timings = &u, choices[0].timings()
	s.answer(w, head)
}

// refuse answers with an error, unless the client has gone.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.o.WriteTimeout))
	asAPIError(err).write(w)
}

func (s *Server) streamCompletion(w http.ResponseWriter, r *http.Request, c *completionRequest, head completion, choices []*choice) {
	out := s.startStream(w)
	begun := make([]bool, len(choices))
	listers := make([]*tokenLister, len(choices))
	for i, choice := range choices {
		listers[i] = c.lister(choice.prompt)
	}
	for p := range parts(r.Context(), choices) {
		if p.err != nil {
			out.fail(p.err)
			return
		}
		text := p.text
		l := c.newLogprobs()
		if !begun[p.index] && c.echo {
			text = c.texts[p.index/c.n] + text
			listers[p.index].add(l, choices[p.index].result.Prompt())
		}
		begun[p.index] = true
		listers[p.index].add(l, p.tokens)
		if text == "" && l == nil && p.finish == "" {
			continue
		}
		chunk := head
		one := completionChoice{Index: p.index, Text: text, Logprobs: l}
		if p.finish != "" {
			one.FinishReason = &p.finish
			chunk.Timings = choices[p.index].timings()
		}
		chunk.Choices = []completionChoice{one}
		if out.send("", chunk) != nil {
			return
		}
	}
	if r.Context().Err() != nil {
		return
	}
	if c.usage {
		u := totals(choices, c.n)
		head.Choices, head.Usage = []completionChoice{}, &u
		if out.send("", head) != nil {
			return
		}
	}
	out.done()
}

// newLogprobs gives empty lists, nil where none were asked for.
func (c *completionRequest) newLogprobs() *completionLogprobs {
	if !c.logprobs {
		return nil
	}
	return &completionLogprobs{Tokens: []string{}, TokenLogprobs: []*float64{}, TopLogprobs: []map[string]float64{}, TextOffset: []int{}}
}

// tokenLister writes lists of the tokens of one choice. It counts the characters of the text in
// front of each token.
type tokenLister struct {
	model   *Model
	decoder *tokenizer.Stream
	offset  int // in characters
}

// lister begins with the prompt where that is a part of the text, else behind it.
func (c *completionRequest) lister(prompt []int) *tokenLister {
	after := -1
	if !c.echo {
		after = prompt[len(prompt)-1]
	}
	return &tokenLister{model: c.model, decoder: c.model.Tokenizer.Stream(after)}
}

// add appends tokens to the lists. The first token of a prompt has no probability.
func (t *tokenLister) add(l *completionLogprobs, tokens []engine.Token) {
	if l == nil {
		return
	}
	m := t.model
	for _, x := range tokens {
		l.Tokens, l.TextOffset = append(l.Tokens, m.tokenText(x.ID)), append(l.TextOffset, t.offset)
		if m.Tokenizer.Has(x.ID) {
			text, _ := t.decoder.Push(x.ID) // has no other error
			t.offset += utf8.RuneCount(text)
		}
		if x.Top == nil {
			l.TokenLogprobs, l.TopLogprobs = append(l.TokenLogprobs, nil), append(l.TopLogprobs, nil)
			continue
		}
		top := map[string]float64{}
		for _, y := range append(x.Top, x.TokenLogprob) {
			// Two ids may have one text; the more probable one stands for it.
			if text := m.tokenText(y.ID); !hasLarger(top, text, y.Logprob) {
				top[text] = y.Logprob
			}
		}
		l.TokenLogprobs, l.TopLogprobs = append(l.TokenLogprobs, &x.Logprob), append(l.TopLogprobs, top)
	}
}

func hasLarger(top map[string]float64, text string, logprob float64) bool {
	have, ok := top[text]
	return ok && have > logprob
}
