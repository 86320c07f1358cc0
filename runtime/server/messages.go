package server

import (
	"encoding/json"
	"net/http"
)

// message is the answer of /v1/messages, Anthropic's form of a chat.
type message struct {
	ID           string        `json:"id"`
	Type         string        `json:"type"`
	Role         string        `json:"role"`
	Model        string        `json:"model"`
	Content      []textBlock   `json:"content"`
	StopReason   *string       `json:"stop_reason"`
	StopSequence *string       `json:"stop_sequence"`
	Usage        messagesUsage `json:"usage"`
}

type textBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type messagesUsage struct {
	InputTokens  int `json:"input_tokens"`
	OutputTokens int `json:"output_tokens"`
}

// writeMessages answers a request of /v1/messages with the error.
func (e *apiError) writeMessages(w http.ResponseWriter) { e.writeBody(w, e.messagesBody()) }

func (e *apiError) messagesBody() []byte {
	var inner struct{ Error json.RawMessage }
	json.Unmarshal(e.body(), &inner)
	b, _ := json.Marshal(map[string]any{"type": "error", "error": inner.Error})
	return b
}

// readMessagesRequest reads a body of /v1/messages, or of its counter of tokens.
func (s *Server) readMessagesRequest(w http.ResponseWriter, r *http.Request, count bool) (*chatRequest, *apiError) {
	f, bad := readFields(w, r, s.chatBody())
	if bad != nil {
		return nil, bad
	}
	c := &chatRequest{generation: &generation{model: s.readModel(f), n: 1, explicit: true}}
	if c.model == nil {
		return nil, f.err
	}
	c.readSampling(f)
	c.stops = readStops(f, "stop_sequences")
	c.stream = f.boolean("stream", false)
	if !f.has("max_tokens") && !count {
		f.fail("max_tokens", "is required")
	}
	c.base.MaxTokens = f.integer("max_tokens", 1, 1, maxInt)
	f.neutral("tools", `[]`)
	f.neutral("tool_choice", `{"type":"none"}`, `{"type":"auto"}`)
	f.neutral("thinking", `{"type":"disabled"}`)
	f.neutral("service_tier", `"auto"`, `"standard_only"`)
	f.ignore("metadata", "cache_control")
	var turns []turn
	if f.has("system") {
		turns = []turn{{"system", readContent(f, "system", contentForm{texts: []string{"text"}})}}
	}
	turns = append(turns, readMessages(f, messagesContent.of(c.model))...)
	if err := f.end(); err != nil {
		return nil, err
	}
	return c, c.render(turns)
}

// countTokens says how many tokens the prompt of a chat has.
func (s *Server) countTokens(w http.ResponseWriter, r *http.Request) {
	c, bad := s.readMessagesRequest(w, r, true)
	if bad != nil {
		bad.writeMessages(w)
		return
	}
	writeJSON(w, map[string]int{"input_tokens": len(c.prompt)})
}

// messages answers Anthropic's form of a chat.
func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	c, bad := s.readMessagesRequest(w, r, false)
	var choices []*choice
	if bad == nil {
		choices, bad = c.submit([][]int{c.prompt})
	}
	if bad != nil {
		bad.writeMessages(w)
		return
	}
	defer s.finish(r, choices)
	s.stillReading(w)
	one := choices[0]
	m := message{ID: newID("msg_"), Type: "message", Role: "assistant", Model: c.model.Name, Content: []textBlock{}, Usage: messagesUsage{InputTokens: len(c.prompt)}}
	if c.stream {
		s.streamMessage(w, r, m, choices)
		return
	}
	text, _, err := one.collect(r.Context())
	if err != nil {
		if r.Context().Err() == nil {
			asAPIError(err).writeMessages(w)
		}
		return
	}
	m.Content = append(m.Content, textBlock{"text", text})
	m.StopReason, m.StopSequence = one.stopReason()
	m.Usage.OutputTokens = one.generated
	s.answer(w, m)
}

// stopReason is the reason of the end in Anthropic's words.
func (c *choice) stopReason() (reason, sequence *string) {
	text := "end_turn"
	switch {
	case c.finish == "length":
		text = "max_tokens"
	case c.stop != "":
		text, sequence = "stop_sequence", &c.stop
	}
	return &text, sequence
}

func (s *Server) streamMessage(w http.ResponseWriter, r *http.Request, m message, choices []*choice) {
	out := s.startStream(w)
	type object = map[string]any
	send := func(kind string, v object) bool {
		v["type"] = kind
		return out.send(kind, v) == nil
	}
	if !send("message_start", object{"message": m}) || !send("content_block_start", object{"index": 0, "content_block": textBlock{"text", ""}}) {
		return
	}
	for p := range parts(r.Context(), choices) {
		if p.err != nil {
			out.sendRaw("error", asAPIError(p.err).messagesBody())
			return
		}
		if p.text != "" && !send("content_block_delta", object{"index": 0, "delta": textBlock{"text_delta", p.text}}) {
			return
		}
	}
	if r.Context().Err() != nil {
		return
	}
	one := choices[0]
	reason, sequence := one.stopReason()
	if send("content_block_stop", object{"index": 0}) &&
		send("message_delta", object{"delta": object{"stop_reason": reason, "stop_sequence": sequence}, "usage": messagesUsage{len(one.prompt), one.generated}}) {
		send("message_stop", object{})
	}
}
