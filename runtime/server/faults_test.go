package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"mop/runtime/chat"
	"mop/runtime/engine"
)

// What a request may not say: each gets 400 with the field's name, before any work of the
// device, and the engine lives on.
func TestRefusedFields(t *testing.T) {
	r := start(t, Options{}, engine.Options{QueueLimit: 500})
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, c := range []struct{ field, body string }{
		{"n", `"n":1000000`}, {"n", `"n":0`}, {"n", `"n":-1`}, {"n", `"n":"2"`}, {"n", `"n":1.5`}, {"n", `"n":1e3`}, {"n", `"n":99999999999999999999`}, {"n", `"n":true`}, {"n", `"n":[]`},
		{"max_tokens", `"max_tokens":0`}, {"max_tokens", `"max_tokens":-5`}, {"max_tokens", `"max_tokens":"7"`}, {"max_tokens", `"max_tokens":1e99`}, {"max_tokens", `"max_tokens":{}`},
		{"temperature", `"temperature":-0.1`}, {"temperature", `"temperature":3`}, {"temperature", `"temperature":"1"`}, {"temperature", `"temperature":1e999`}, {"temperature", `"temperature":false`},
		{"top_p", `"top_p":0`}, {"top_p", `"top_p":1.1`}, {"top_k", `"top_k":-2`}, {"top_k", `"top_k":0.5`}, {"min_p", `"min_p":-1`},
		{"repetition_penalty", `"repetition_penalty":0`}, {"presence_penalty", `"presence_penalty":5`}, {"frequency_penalty", `"frequency_penalty":"x"`},
		{"seed", `"seed":1.5`}, {"seed", `"seed":"1"`}, {"seed", `"seed":99999999999999999999`},
		{"logprobs", `"logprobs":21`}, {"logprobs", `"logprobs":true`}, {"logprobs", `"logprobs":-1`},
		{"stop", `"stop":["a","b","c","d","e"]`}, {"stop", `"stop":""`}, {"stop", `"stop":7`}, {"stop", `"stop":[null]`}, {"stop", `"stop":"` + strings.Repeat("a", 257) + `"`},
		{"logit_bias", `"logit_bias":{"1024":1}`}, {"logit_bias", `"logit_bias":{"-1":1}`}, {"logit_bias", `"logit_bias":{"x":1}`}, {"logit_bias", `"logit_bias":[]`}, {"logit_bias.5", `"logit_bias":{"5":101}`}, {"logit_bias.5", `"logit_bias":{"5":null}`}, {"logit_bias.5", `"logit_bias":{"5":"1"}`},
		{"min_tokens", `"min_tokens":17`}, {"min_tokens", `"min_tokens":-1`}, {"ignore_eos", `"ignore_eos":"yes"`}, {"echo", `"echo":1`},
		{"stream", `"stream":"true"`}, {"stream_options", `"stream_options":{"include_usage":true}`}, {"stream_options.frob", `"stream":true,"stream_options":{"frob":1}`},
		{"best_of", `"best_of":3`}, {"suffix", `"suffix":"x"`}, {"frobnicate", `"frobnicate":1`}, {"guided_json", `"guided_json":{}`}, {"user_", `"user_":0`},
		{"model", `"model":7`},
	} {
		before := r.model.Engine.Stats()
		if message, param := r.refused("/v1/completions", `{"prompt":"a",`+c.body+`}`, 400); param != c.field || !strings.HasPrefix(message, c.field) {
			t.Errorf("%s: want the field %q, got %q: %s", c.body, c.field, param, message)
		}
		if after := r.model.Engine.Stats(); after != before {
			t.Errorf("%s: the engine worked: %+v, before %+v", c.body, after, before)
		}
	}
	for _, body := range []string{`{}`, `{"prompt":null}`, `{"prompt":7}`, `{"prompt":{}}`, `{"prompt":[]}`, `{"prompt":[[]]}`, `{"prompt":[1,"a"]}`, `{"prompt":["a",1]}`, `{"prompt":[null]}`, `{"prompt":[-1]}`, `{"prompt":[1024]}`, `{"prompt":[1.5]}`, `{"prompt":[1e2]}`, `{"prompt":[[1],[null]]}`, `{"prompt":"","add_special_tokens":false}`,
		`{"prompt":[` + strings.Repeat(`"a",`, 64) + `"a"]}`} {
		if message, param := r.refused("/v1/completions", body, 400); param != "prompt" {
			t.Errorf("%.50s: got the field %q: %s", body, param, message)
		}
	}
	for _, body := range []string{``, `{`, `[]`, `null`, `"a"`, `7`, `{"prompt":"a"}{}`, `{"prompt":"a"} x`, `{"prompt":"a","prompt":"b"}`, "{\"prompt\":\"\xff\"}", `{"prompt":` + deep + `}`, `{"prompt":"a",}`, "\x00", `{"prompt":"\ud83d"}`, `{"prompt":"\ud83dx"}`, `{"prompt":"\ude00\ud83d"}`, `{"prompt":"\\\ud83d"}`} {
		r.refused("/v1/completions", body, 400)
	}
	r.complete(`{"prompt":"\ud83d\ude00 \\ud83d \u00e9","max_tokens":1}`) // whole characters
	message, _ := r.refused("/v1/completions", `{"prompt":"`+strings.Repeat("time ", 600)+`"}`, 400)
	if !strings.Contains(message, "context") {
		t.Errorf("a prompt beyond the context: got %q", message)
	}
	r.refused("/v1/completions", `{"prompt":"a","max_tokens":513}`, 400)
	r.refused("/v1/completions", `{"prompt":"a","model":"gpt-4"}`, 404)
	for path, want := range map[string]int{"/v1/completions": 405, "/v1/nothing": 404, "/v1/models/other": 404} {
		status, data := r.get(path)
		if r.errorOf(data); status != want {
			t.Errorf("%s: want %d, got %d", path, want, status)
		}
	}
	// A null is as good as nothing, as clients send it.
	nulls := `"n":null,"max_tokens":null,"temperature":0,"top_p":null,"top_k":null,"min_p":null,"seed":null,"stop":null,"logit_bias":null,"logprobs":null,"echo":null,"stream":null,"stream_options":null,"presence_penalty":null,"repetition_penalty":null,"min_tokens":null,"response_format":null,"user":null,"model":null,"frobnicate":null`
	if got, want := r.complete(`{"prompt":"Once",`+nulls+`}`), r.complete(`{"prompt":"Once","temperature":0}`); got.Choices[0].Text != want.Choices[0].Text || *got.Usage != *want.Usage {
		t.Errorf("with nulls: want %+v, got %+v", want, got)
	}
	// The default number of tokens never exceeds the context.
	if c := r.complete(`{"prompt":[` + strings.Repeat("5,", 509) + `5],"temperature":0,"ignore_eos":true}`); c.Usage.CompletionTokens != 3 {
		t.Errorf("510 of 512 positions: got %+v", c.Usage)
	}
	r.idle()
}

// A client that goes away ends its own request, also while it waits, and no other one; the
// gauges of the metrics return to 0.
func TestDisconnect(t *testing.T) {
	r := start(t, Options{}, engine.Options{MaxBatch: 1})
	want := r.complete(`{"prompt":"Once upon a time","max_tokens":200,"temperature":0,"ignore_eos":true}`).Choices[0].Text
	neighbour := make(chan string)
	go func() {
		neighbour <- r.complete(`{"prompt":"Once upon a time","max_tokens":200,"temperature":0,"ignore_eos":true}`).Choices[0].Text
	}()
	r.until("the neighbour runs", func() bool { return r.model.Engine.Stats().Running == 1 })
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "POST", r.url+"/v1/completions", strings.NewReader(`{"prompt":"x","max_tokens":100}`))
		_, err := http.DefaultClient.Do(req)
		gone <- err
	}()
	r.until("one waits", func() bool { return r.model.Engine.Stats().Waiting == 1 })
	leave()
	if err := <-gone; err == nil {
		t.Error("want an error of the client that left")
	}
	r.until("none waits", func() bool { return r.model.Engine.Stats().Waiting == 0 })
	if got := <-neighbour; got != want {
		t.Errorf("the neighbour: want %q, got %q", want, got)
	}
	ctx, leave = context.WithCancel(t.Context())
	body := r.open(ctx, 500)
	leave()
	body.Close()
	r.idle()
	_, data := r.get("/metrics")
	for _, name := range []string{"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"} {
		if line := fmt.Sprintf("mop_%s{model_name=\"demo\"} 0\n", name); !strings.Contains(string(data), line) {
			t.Errorf("want %q in the metrics", line)
		}
	}
	if !strings.Contains(string(data), `finished_reason="abort"`) {
		t.Error("want an aborted request in the metrics")
	}
}

// A reader that takes nothing loses its slot after the time for a write.
func TestSlowReader(t *testing.T) {
	r := start(t, Options{WriteTimeout: 200 * time.Millisecond}, engine.Options{MaxBatch: 1})
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(1024)
	// Each of the events has many alternatives, so that the answer outgrows all buffers.
	body := `{"prompt":"a","max_tokens":500,"logprobs":20,"ignore_eos":true,"stream":true}`
	fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	r.until("it runs", func() bool { return r.model.Engine.Stats().Running == 1 })
	r.idle()
	if _, data := r.get("/metrics"); !strings.Contains(string(data), `finished_reason="abort"`) {
		t.Error("want the request given up, and it was answered")
	}
	if got := r.complete(greedy + `}`); got.Choices[0].Text == "" {
		t.Error("the next request got nothing")
	}
}

// Where the queue is full, clients are told to come back, at every endpoint, and what waits is
// answered.
func TestQueueFull(t *testing.T) {
	r, steps := startGated(t, Options{}, engine.Options{MaxBatch: 1, QueueLimit: 2})
	answered := make(chan int)
	for range 2 {
		go func() {
			status, _ := r.post("/v1/completions", `{"prompt":"a","max_tokens":1}`)
			answered <- status
		}()
	}
	r.until("the queue is full", func() bool { return r.model.Engine.Stats().Waiting == 2 })
	for path, body := range map[string]string{"/v1/completions": `{"prompt":"a"`, "/v1/chat/completions": `{"messages":[{"role":"user","content":"a"}]`, "/v1/responses": `{"input":"a"`, "/v1/messages": `{"messages":[{"role":"user","content":"a"}],"max_tokens":1`} {
		for _, end := range []string{`}`, `,"stream":true}`} {
			resp, err := http.Post(r.url+path, "application/json", strings.NewReader(body+end))
			if err != nil {
				t.Fatal(err)
			}
			data, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if r.errorOf(data); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s: want 429 with a header Retry-After, got %d with %v", path, resp.StatusCode, resp.Header)
			}
		}
	}
	steps.open()
	for range 2 {
		if status := <-answered; status != 200 {
			t.Errorf("one that waited: got %d", status)
		}
	}
	r.refused("/v1/completions", `{"prompt":"a","n":3}`, 400) // more than the queue can ever hold
}

// Chats: as a whole and as a stream, with probabilities but without alternatives, with the
// newer names of fields.
func TestChat(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	body := `{"messages":[{"role":"developer","content":"Be kind."},{"role":"user","content":[{"type":"text","text":"Tell me "},{"type":"text","text":"a story."}]}],"max_completion_tokens":12,"temperature":0,"logprobs":true`
	status, data := r.post("/v1/chat/completions", body+`}`)
	if status != 200 {
		t.Fatalf("status %d: %s", status, data)
	}
	c := decode[chatCompletion](t, data)
	one := c.Choices[0]
	if c.Object != "chat.completion" || one.Message.Role != "assistant" || *one.Message.Content == "" || one.Delta != nil || *one.FinishReason == "" {
		t.Errorf("got %s", data)
	}
	if len(one.Logprobs.Content) != c.Usage.CompletionTokens || one.Logprobs.Content[0].Top == nil || len(one.Logprobs.Content[0].Top) != 0 {
		t.Errorf("logprobs: got %s", data)
	}
	text, finish := "", ""
	all := r.stream("/v1/chat/completions", body+`,"stream":true,"top_logprobs":2,"n":1}`)
	for i, event := range all {
		part := decode[chatCompletion](t, []byte(event))
		d := part.Choices[0]
		if part.Object != "chat.completion.chunk" || d.Message != nil || (d.Delta.Role == "assistant") != (i == 0) {
			t.Errorf("event %d: %s", i, event)
		}
		if d.Delta.Content != nil {
			text += *d.Delta.Content
		}
		if d.FinishReason != nil {
			finish = *d.FinishReason
		} else if i == len(all)-1 {
			t.Errorf("the last part has no finish_reason: %s", event)
		}
	}
	if text != *one.Message.Content || finish != *one.FinishReason {
		t.Errorf("streamed: want %q, %q, got %q, %q", *one.Message.Content, *one.FinishReason, text, finish)
	}
	for _, c := range []struct{ field, body string }{
		{"messages", `{"messages":[]}`}, {"messages", `{}`}, {"messages", `{"messages":"hi"}`}, {"messages[0]", `{"messages":[7]}`},
		{"messages[0].role", `{"messages":[{"content":"a"}]}`}, {"messages[0].role", `{"messages":[{"role":"robot","content":"a"}]}`}, {"messages[0].content", `{"messages":[{"role":"user"}]}`},
		{"messages[0].content", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]}`},
		{"messages", `{"messages":[{"role":"assistant","content":"a"}]}`}, // the template refuses it
		{"response_format.type", `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"xml"}}`},
		{"response_format", `{"messages":[{"role":"user","content":"a"}],"response_format":"json_object"}`},
		{"response_format.json_schema", `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema"}}`},
		{"response_format.json_schema.schema", `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a"}}}`},
		{"response_format.json_schema.schema", `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"number","multipleOf":3}}}}`},
		{"response_format.json_schema.other", `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{},"other":1}}}`},
		{"response_format.other", `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"text","other":1}}`},
		{"ignore_eos", `{"messages":[{"role":"user","content":"a"}],"ignore_eos":true,"response_format":{"type":"json_object"}}`},
		{"min_tokens", `{"messages":[{"role":"user","content":"a"}],"min_tokens":2,"response_format":{"type":"json_object"}}`},
		{"tools", `{"messages":[{"role":"user","content":"a"}],"tools":[{}]}`},
		{"top_logprobs", `{"messages":[{"role":"user","content":"a"}],"top_logprobs":2}`},
		{"chat_template", `{"messages":[{"role":"user","content":"a"}],"chat_template":"{{ 1 }}"}`},
	} {
		if message, param := r.refused("/v1/chat/completions", c.body, 400); param != c.field {
			t.Errorf("%s: want the field %q, got %q: %s", c.body, c.field, param, message)
		}
	}
}

// A chat template that never ends, or reads files, is an error of the request; the server
// lives on.
func TestHostileTemplate(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	for i, source := range []string{
		`{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}x{% endfor %}{% endfor %}{% endfor %}`,
		`{% include '/etc/passwd' %}`, `{% import '/etc/passwd' as p %}{{ p }}`, `{% extends '/etc/passwd' %}`,
	} {
		template, err := chat.Parse("hostile", source, nil)
		if (err == nil) != (i == 0) { // the others are refused when they are loaded
			t.Errorf("%.40s: got %v", source, err)
		}
		if err != nil {
			continue
		}
		r.model.SetTemplate(template)
		status, data := r.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"max_tokens":4}`)
		if status != 400 || bytes.Contains(data, []byte("root:")) {
			t.Errorf("%.40s: got %d: %.100s", source, status, data)
		}
	}
	r.complete(greedy + `}`)
}
