package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// response is the answer of /v1/responses. The server keeps nothing of it.
type response struct {
	ID                string            `json:"id"`
	Object            string            `json:"object"`
	CreatedAt         int64             `json:"created_at"`
	Status            string            `json:"status"`
	Background        bool              `json:"background"`
	Error             *struct{}         `json:"error"`
	IncompleteDetails map[string]string `json:"incomplete_details"`
	Instructions      *string           `json:"instructions"`
	MaxOutputTokens   *int              `json:"max_output_tokens"`
	Model             string            `json:"model"`
	Output            []outputItem      `json:"output"`
	ParallelToolCalls bool              `json:"parallel_tool_calls"`
	Previous          *string           `json:"previous_response_id"`
	Store             bool              `json:"store"`
	Temperature       float64           `json:"temperature"`
	TopP              float64           `json:"top_p"`
	Text              any               `json:"text"`
	ToolChoice        string            `json:"tool_choice"`
	Tools             []struct{}        `json:"tools"`
	Truncation        string            `json:"truncation"`
	Metadata          map[string]string `json:"metadata"`
	Usage             *responseUsage    `json:"usage"`
}

type outputItem struct {
	ID      string       `json:"id"`
	Type    string       `json:"type"`
	Status  string       `json:"status"`
	Role    string       `json:"role"`
	Content []outputText `json:"content"`
}

type outputText struct {
	Type        string     `json:"type"`
	Text        string     `json:"text"`
	Annotations []struct{} `json:"annotations"`
	Logprobs    []struct{} `json:"logprobs"`
}

type responseUsage struct {
	InputTokens   int            `json:"input_tokens"`
	InputDetails  map[string]int `json:"input_tokens_details"`
	OutputTokens  int            `json:"output_tokens"`
	OutputDetails map[string]int `json:"output_tokens_details"`
	TotalTokens   int            `json:"total_tokens"`
}

func newOutputText(text string) outputText {
	return outputText{"output_text", text, []struct{}{}, []struct{}{}}
}

// readResponse reads a body of /v1/responses.
func (s *Server) readResponse(w http.ResponseWriter, r *http.Request) (*chatRequest, *response, *apiError) {
	f, bad := readFields(w, r, s.chatBody())
	if bad != nil {
		return nil, nil, bad
	}
	c := &chatRequest{generation: &generation{model: s.readModel(f), n: 1}}
	if c.model == nil {
		return nil, nil, f.err
	}
	c.readSampling(f)
	a := &response{ID: newID("resp_"), Object: "response", CreatedAt: time.Now().Unix(), Status: "in_progress", Model: c.model.Name, Output: []outputItem{},
		Temperature: c.base.Sampling.Temperature, TopP: c.base.Sampling.TopP, ToolChoice: "auto", Tools: []struct{}{}, Truncation: "disabled", Metadata: map[string]string{},
		Text: map[string]any{"format": map[string]string{"type": "text"}}, ParallelToolCalls: true}
	c.stream = f.boolean("stream", false)
	c.explicit = f.has("max_output_tokens")
	if c.base.MaxTokens = f.integer("max_output_tokens", maxInt, 1, maxInt); c.explicit {
		a.MaxOutputTokens = &c.base.MaxTokens
	}
	if f.has("store") {
		f.neutral("store", `false`)
	}
	f.neutral("background", `false`)
	f.neutral("previous_response_id")
	f.neutral("conversation")
	f.neutral("tools", `[]`)
	f.neutral("tool_choice", `"none"`, `"auto"`)
	raw := f.raw["text"]
	if c.readTextFormat(f); c.base.Grammar != nil {
		a.Text = raw
	}
	f.neutral("truncation", `"disabled"`)
	f.neutral("include", `[]`)
	f.neutral("reasoning", `{}`)
	f.neutral("top_logprobs", `0`)
	f.neutral("service_tier", `"auto"`, `"default"`)
	f.neutral("stream_options", `{}`, `{"include_obfuscation":false}`)
	f.ignore("metadata", "user", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
	var turns []turn
	if text, ok := f.text("instructions"); ok {
		a.Instructions = &text
		turns = append(turns, textTurn("system", text))
	}
	turns = append(turns, readInput(f, responsesContent.of(c.model))...)
	if err := f.end(); err != nil {
		return nil, nil, err
	}
	return c, a, c.render(turns)
}

// readInput reads the input of a response: a text, or the messages of a conversation.
func readInput(f *fields, form contentForm) (turns []turn) {
	raw, ok := f.raw["input"]
	switch {
	case !ok || string(raw) == "null":
		f.fail("input", "is required")
		return nil
	case raw[0] != '[':
		text, _ := f.text("input")
		return []turn{textTurn("user", text)}
	}
	for i, raw := range f.list("input") {
		in := &fields{prefix: f.prefix + "input[" + strconv.Itoa(i) + "]."}
		if err := json.Unmarshal(raw, &in.raw); err != nil || in.raw == nil {
			f.fail("input", "want messages, got %s", clip(raw))
			return nil
		}
		in.neutral("type", `"message"`)
		role, _ := in.text("role")
		switch role {
		case "developer":
			role = "system"
		case "system", "user", "assistant":
		default:
			in.fail("role", "want system, developer, user or assistant, got %q", clip([]byte(role)))
		}
		parts := readContent(in, "content", form)
		in.ignore("id", "status")
		checkImageRole(in, role, parts)
		f.close(in)
		turns = append(turns, turn{role, parts})
	}
	if len(turns) == 0 {
		f.fail("input", "want at least one message, got none")
	}
	return turns
}

// end completes an answer.
func (a *response) end(c *choice, id, text string) {
	a.Status = "completed"
	if c.finish == "length" {
		a.Status, a.IncompleteDetails = "incomplete", map[string]string{"reason": "max_output_tokens"}
	}
	a.Output = []outputItem{{id, "message", a.Status, "assistant", []outputText{newOutputText(text)}}}
	a.Usage = &responseUsage{len(c.prompt), map[string]int{"cached_tokens": 0}, c.generated, map[string]int{"reasoning_tokens": 0}, len(c.prompt) + c.generated}
}

// responses answers the newer form of a chat, without state.
func (s *Server) responses(w http.ResponseWriter, r *http.Request) {
	c, a, bad := s.readResponse(w, r)
	var choices []*choice
	if bad == nil {
		choices, bad = c.submit([][]int{c.prompt})
	}
	if bad != nil {
		bad.write(w)
		return
	}
	defer s.finish(r, choices)
	s.stillReading(w)
	if c.stream {
		s.streamResponse(w, r, a, choices)
		return
	}
	text, _, err := choices[0].collect(r.Context())
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	a.end(choices[0], newID("msg_"), text)
	s.answer(w, a)
}

func (s *Server) streamResponse(w http.ResponseWriter, r *http.Request, a *response, choices []*choice) {
	out := s.startStream(w)
	type object = map[string]any
	number := 0
	send := func(kind string, v object) bool {
		v["type"], v["sequence_number"] = kind, number
		number++
		return out.send(kind, v) == nil
	}
	id, text := newID("msg_"), ""
	at := func(v object) object {
		v["item_id"], v["output_index"], v["content_index"] = id, 0, 0
		return v
	}
	if !send("response.created", object{"response": a}) || !send("response.in_progress", object{"response": a}) ||
		!send("response.output_item.added", object{"output_index": 0, "item": outputItem{id, "message", "in_progress", "assistant", []outputText{}}}) ||
		!send("response.content_part.added", at(object{"part": newOutputText("")})) {
		return
	}
	for p := range parts(r.Context(), choices) {
		if p.err != nil {
			e := asAPIError(p.err)
			send("error", object{"code": e.Type, "message": e.Message, "param": e.param()})
			return
		}
		text += p.text
		if p.text != "" && !send("response.output_text.delta", at(object{"delta": p.text, "logprobs": []struct{}{}})) {
			return
		}
	}
	if r.Context().Err() != nil {
		return
	}
	a.end(choices[0], id, text)
	if send("response.output_text.done", at(object{"text": text, "logprobs": []struct{}{}})) &&
		send("response.content_part.done", at(object{"part": newOutputText(text)})) &&
		send("response.output_item.done", object{"output_index": 0, "item": a.Output[0]}) {
		send("response."+a.Status, object{"response": a})
	}
}
