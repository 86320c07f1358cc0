package server

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"mop/runtime/engine"
)

const greedy = `{"prompt":"Once upon a time","max_tokens":24,"temperature":0`

// A completion as a whole, as a stream, with its prompt as token ids, with other sequences
// beside it: the same text.
func TestCompletionIsTheSameInEveryForm(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	want := r.complete(greedy + `}`)
	text := want.Choices[0].Text
	if !strings.HasPrefix(text, " there was") || *want.Choices[0].FinishReason != "length" {
		t.Errorf("got %+v", want.Choices[0])
	}
	if u := want.Usage; u.PromptTokens != 5 || u.CompletionTokens != 24 || u.TotalTokens != 29 {
		t.Errorf("got %+v", u)
	}
	if s := want.Timings; s.PromptN != 5 || s.TokensN != 24 || s.TokensMS <= 0 || s.TokensPerSecond <= 0 {
		t.Errorf("got %+v", s)
	}
	_, data := r.post("/tokenize", `{"prompt":"Once upon a time"}`)
	ids := decode[struct{ Tokens []int }](t, data).Tokens
	list := strings.ReplaceAll(fmt.Sprint(ids), " ", ",")
	for _, prompt := range []string{list, "[" + list + "]", `["Once upon a time"]`} {
		if got := r.complete(`{"prompt":` + prompt + `,"max_tokens":24,"temperature":0,"model":"demo"}`); got.Choices[0].Text != text {
			t.Errorf("prompt %s: want %q, got %q", prompt, text, got.Choices[0].Text)
		}
	}
	var streamed strings.Builder
	all := r.stream("/v1/completions", greedy+`,"stream":true,"stream_options":{"include_usage":true}}`)
	for i, data := range all {
		c := decode[completion](t, []byte(data))
		if c.Object != "text_completion" || c.ID == "" || (c.Usage != nil) != (i == len(all)-1) {
			t.Errorf("event %d: %s", i, data)
		}
		for _, one := range c.Choices {
			streamed.WriteString(one.Text)
			// The reason stands in the last part with a choice, and in no other.
			if (one.FinishReason != nil) != (i == len(all)-2) {
				t.Errorf("event %d of %d: %s", i, len(all), data)
			}
		}
	}
	if streamed.String() != text {
		t.Errorf("streamed: want %q, got %q", text, streamed.String())
	}
	many := r.complete(`{"prompt":["Once upon a time","The dog","Once upon a time"],"n":2,"max_tokens":24,"temperature":0}`)
	if len(many.Choices) != 6 {
		t.Fatalf("want 6 choices, got %d", len(many.Choices))
	}
	for i, c := range many.Choices {
		if c.Index != i || (c.Text == text) != (i < 2 || i > 3) {
			t.Errorf("choice %d: %+v", i, c)
		}
	}
	if u := many.Usage; u.CompletionTokens != 6*24 || u.PromptTokens != 5+5+len(decode[struct{ Tokens []int }](t, second(r.post("/tokenize", `{"prompt":"The dog"}`))).Tokens) {
		t.Errorf("the tokens of a prompt count once: got %+v", u)
	}
}

func second(_ int, data []byte) []byte { return data }

// With a seed, samples repeat; sequences of one request differ.
func TestSeed(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	body := `{"prompt":"Once","max_tokens":20,"temperature":1,"n":3,"seed":-7,"top_p":0.9,"top_k":50,"min_p":0.01,"repetition_penalty":1.1,"presence_penalty":0.1,"frequency_penalty":0.1}`
	a, b := r.complete(body), r.complete(body)
	for i := range a.Choices {
		if a.Choices[i].Text != b.Choices[i].Text {
			t.Errorf("choice %d: %q and %q", i, a.Choices[i].Text, b.Choices[i].Text)
		}
	}
	if a.Choices[0].Text == a.Choices[1].Text && a.Choices[1].Text == a.Choices[2].Text {
		t.Errorf("three times %q", a.Choices[0].Text)
	}
}

// The request of lm-evaluation-harness: the prompt's tokens come back with their
// probabilities, the first without one, and the last element belongs to the generated token.
// A greedy token stands in top_logprobs with the identical number.
func TestEchoLogprobs(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	for _, stop := range []string{"", `,"stop":["Ella"]`, `,"stop":["time"]`} { // echo, logprobs and stop together
		c := r.complete(`{"model":"demo","prompt":[[1,403,407,261,378,302]],"temperature":0,"max_tokens":1,"logprobs":1,"seed":1234,"echo":true` + stop + `}`)
		l := c.Choices[0].Logprobs
		if len(l.Tokens) != 7 || len(l.TokenLogprobs) != 7 || len(l.TopLogprobs) != 7 || len(l.TextOffset) != 7 {
			t.Fatalf("want 7 elements, got %+v", l)
		}
		if l.TokenLogprobs[0] != nil || l.TopLogprobs[0] != nil {
			t.Errorf("the first token: %+v", l)
		}
		greedy := 0
		for i, top := range l.TopLogprobs[1:] {
			best := math.Inf(-1)
			for _, x := range top {
				best = max(best, x)
			}
			if got := *l.TokenLogprobs[i+1]; got > best || math.IsNaN(got) {
				t.Errorf("token %d: %v above the largest, %v", i+1, got, best)
			} else if got == best {
				greedy++
			}
		}
		if best := l.TopLogprobs[6]; best[l.Tokens[6]] != *l.TokenLogprobs[6] || greedy == 0 {
			t.Errorf("the generated token %q: %v, of %v", l.Tokens[6], *l.TokenLogprobs[6], best)
		}
	}
	// The text behind an offset begins with the token.
	c := r.complete(greedy + `,"echo":true,"logprobs":0}`).Choices[0]
	for i, token := range c.Logprobs.Tokens[1:] {
		if rest := c.Text[c.Logprobs.TextOffset[i+1]:]; !strings.HasPrefix(rest, strings.TrimPrefix(token, " ")) && !strings.HasPrefix(rest, token) {
			t.Errorf("token %d, %q: offset %d is %.10q", i+1, token, c.Logprobs.TextOffset[i+1], rest)
		}
	}
	if !strings.HasPrefix(c.Text, "Once upon a time there was") {
		t.Errorf("got %q", c.Text)
	}
	only := r.complete(`{"prompt":"Once upon a time","max_tokens":0,"echo":true,"logprobs":2}`).Choices[0]
	if only.Text != "Once upon a time" || len(only.Logprobs.Tokens) != 5 || *only.FinishReason != "length" {
		t.Errorf("no token: got %+v", only)
	}
	// A stream has the same lists.
	var tokens []string
	var offsets []int
	for _, data := range r.stream("/v1/completions", greedy+`,"echo":true,"logprobs":0,"stream":true}`) {
		l := decode[completion](t, []byte(data)).Choices[0].Logprobs
		tokens, offsets = append(tokens, l.Tokens...), append(offsets, l.TextOffset...)
	}
	if fmt.Sprint(tokens, offsets) != fmt.Sprint(c.Logprobs.Tokens, c.Logprobs.TextOffset) {
		t.Errorf("streamed:\nwant %q %v\ngot  %q %v", c.Logprobs.Tokens, c.Logprobs.TextOffset, tokens, offsets)
	}
}

// A stop string that spans tokens ends the text in front of it; nothing of it is sent, and
// the request gives its pages back.
func TestStopSpansTokens(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	full := r.complete(greedy + `}`).Choices[0].Text
	at := strings.Index(full, "girl")
	stop := full[at-3 : at+2] // the end of one token and the beginning of the next
	for _, form := range []string{`,"stop":["zzz","` + stop + `"]`, `,"stop":"` + stop + `"`} {
		c := r.complete(greedy + form + `}`)
		if c.Choices[0].Text != full[:at-3] || *c.Choices[0].FinishReason != "stop" {
			t.Errorf("want %q, got %+v", full[:at-3], c.Choices[0])
		}
		if c.Usage.CompletionTokens >= 24 {
			t.Errorf("generation went on: %+v", c.Usage)
		}
		text := ""
		for _, data := range r.stream("/v1/completions", greedy+form+`,"stream":true}`) {
			text += decode[completion](t, []byte(data)).Choices[0].Text
			if !strings.HasPrefix(full[:at-3], text) {
				t.Errorf("a part of the stop string was sent: %q", text)
			}
		}
		if text != full[:at-3] {
			t.Errorf("streamed: want %q, got %q", full[:at-3], text)
		}
	}
	r.idle()
	// Stop strings do not count among the first min_tokens tokens.
	if c := r.complete(greedy + `,"stop":"` + stop + `","min_tokens":20}`); c.Choices[0].Text != full {
		t.Errorf("want %q, got %q", full, c.Choices[0].Text)
	}
}

// A character whose bytes come in two tokens is sent as a whole.
func TestCharacterSpansTokens(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	// Byte tokens 0xC3 and 0xA9 in turn: é, é, ...
	body := `{"prompt":"x","max_tokens":7,"temperature":0,"ignore_eos":true,"logit_bias":{"198":100,"172":98},"frequency_penalty":2,"logprobs":0`
	c := r.complete(body + `}`)
	if want := "éé"; !strings.Contains(c.Choices[0].Text, want) {
		t.Fatalf("want %q, got %q", want, c.Choices[0].Text)
	}
	if got := c.Choices[0].Logprobs.Tokens; !slices.Contains(got, `bytes:\xc3`) || !slices.Contains(got, `bytes:\xa9`) {
		t.Errorf("got tokens %q", got)
	}
	text := ""
	for _, data := range r.stream("/v1/completions", body+`,"stream":true}`) {
		part := decode[completion](t, []byte(data)).Choices[0]
		text += part.Text
	}
	if text != c.Choices[0].Text {
		t.Errorf("streamed: want %q, got %q", c.Choices[0].Text, text)
	}
}

// EOS ends a text and counts as a token; ignore_eos and min_tokens go on.
func TestEOS(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	biased := `{"prompt":"x","max_tokens":10,"temperature":0,"logit_bias":{"2":100}`
	if c := r.complete(biased + `}`); c.Choices[0].Text != "" || *c.Choices[0].FinishReason != "stop" || c.Usage.CompletionTokens != 1 {
		t.Errorf("got %+v, %+v", c.Choices[0], c.Usage)
	}
	if c := r.complete(biased + `,"ignore_eos":true}`); *c.Choices[0].FinishReason != "length" || c.Usage.CompletionTokens != 10 {
		t.Errorf("got %+v, %+v", c.Choices[0], c.Usage)
	}
	if c := r.complete(biased + `,"min_tokens":6}`); *c.Choices[0].FinishReason != "stop" || c.Usage.CompletionTokens != 7 {
		t.Errorf("got %+v, %+v", c.Choices[0], c.Usage)
	}
}

func TestTokenize(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	_, data := r.post("/tokenize", `{"prompt":"Once upon","add_special_tokens":false,"return_token_strs":true}`)
	got := decode[struct {
		Count  int
		Tokens []int
		Max    int      `json:"max_model_len"`
		Texts  []string `json:"token_strs"`
	}](t, data)
	if got.Count != 2 || got.Max != 512 || len(got.Tokens) != 2 || got.Texts[1] != " upon" {
		t.Errorf("got %s", data)
	}
	if _, data := r.post("/detokenize", strings.ReplaceAll(fmt.Sprintf(`{"tokens":%v}`, got.Tokens), " ", ",")); string(data) != `{"prompt":"Once upon"}` {
		t.Errorf("got %s", data)
	}
	if _, data := r.get("/tokenizer_info"); !strings.Contains(string(data), `"eos_token":"\u003c/s\u003e"`) || !strings.Contains(string(data), `"bos_token":"\u003cs\u003e"`) {
		t.Errorf("got %s", data)
	}
	if _, data := r.post("/tokenize", `{"prompt":"</s>","add_special_tokens":false}`); !strings.Contains(string(data), `"tokens":[2]`) {
		t.Errorf("the text of a special token: got %s", data)
	}
	for _, body := range []string{`{}`, `{"tokens":[1024]}`, `{"tokens":[-1]}`, `{"tokens":["a"]}`, `{"tokens":[1.5]}`, `{"tokens":null}`, `{"tokens":{}}`} {
		if _, param := r.refused("/detokenize", body, 400); param != "tokens" {
			t.Errorf("%s: got the field %q", body, param)
		}
	}
}
