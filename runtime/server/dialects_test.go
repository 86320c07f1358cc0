package server

import (
	"encoding/json"
	"strings"
	"testing"

	"mop/runtime/engine"
)

// Responses and messages answer as chats do, as a whole and as a stream.
func TestResponsesAndMessages(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	_, data := r.post("/v1/chat/completions", `{"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Tell me a story."}],"max_tokens":12,"temperature":0}`)
	want := *decode[chatCompletion](t, data).Choices[0].Message.Content

	body := `{"model":"demo","instructions":"Be kind.","input":[{"role":"user","content":[{"type":"input_text","text":"Tell me a story."}]}],"max_output_tokens":12,"temperature":0,"store":false`
	status, data := r.post("/v1/responses", body+`}`)
	a := decode[response](t, data)
	if status != 200 || a.Object != "response" || a.Output[0].Content[0].Text != want || a.Status != "incomplete" && a.Status != "completed" || a.Usage.OutputTokens > 12 {
		t.Errorf("got %d: %s", status, data)
	}
	text, last := "", ""
	status, data = r.post("/v1/responses", body+`,"stream":true}`)
	if status != 200 || strings.Contains(string(data), "[DONE]") {
		t.Errorf("got %d: %s", status, data)
	}
	for i, event := range events(t, strings.NewReader(string(data))) {
		e := decode[struct {
			Type     string
			Number   int `json:"sequence_number"`
			Delta    string
			Response *response
		}](t, []byte(event))
		if e.Number != i {
			t.Errorf("event %d has the number %d", i, e.Number)
		}
		text += e.Delta
		last = e.Type
	}
	if text != want || last != "response."+a.Status {
		t.Errorf("streamed: want %q, got %q, at the end %s", want, text, last)
	}

	body = `{"model":"demo","system":[{"type":"text","text":"Be kind."}],"messages":[{"role":"user","content":"Tell me a story."}],"max_tokens":12,"temperature":0`
	status, data = r.post("/v1/messages", body+`}`)
	m := decode[message](t, data)
	if status != 200 || m.Type != "message" || m.Content[0].Text != want || m.StopReason == nil || m.Usage.InputTokens == 0 || !strings.Contains(string(data), `"stop_sequence":null`) {
		t.Errorf("got %d: %s", status, data)
	}
	text, last = "", ""
	_, data = r.post("/v1/messages", body+`,"stream":true}`)
	for _, event := range events(t, strings.NewReader(string(data))) {
		e := decode[struct {
			Type  string
			Delta struct{ Text string }
		}](t, []byte(event))
		text += e.Delta.Text
		last = e.Type
	}
	if text != want || last != "message_stop" {
		t.Errorf("streamed: want %q, got %q, at the end %s", want, text, last)
	}
	stop := want[2:6]
	_, data = r.post("/v1/messages", body+`,"stop_sequences":[`+quoted(stop)+`]}`)
	if m := decode[message](t, data); m.Content[0].Text != want[:2] || *m.StopReason != "stop_sequence" || *m.StopSequence != stop {
		t.Errorf("stop at %q: got %s", stop, data)
	}
	if _, data := r.post("/v1/messages/count_tokens", `{"messages":[{"role":"user","content":"hi"}]}`); decode[map[string]int](t, data)["input_tokens"] < 2 {
		t.Errorf("got %s", data)
	}
	for _, c := range []struct{ path, field, body string }{
		{"/v1/responses", "input", `{}`}, {"/v1/responses", "input", `{"input":[]}`}, {"/v1/responses", "previous_response_id", `{"input":"a","previous_response_id":"resp_1"}`},
		{"/v1/responses", "store", `{"input":"a","store":true}`}, {"/v1/responses", "tools", `{"input":"a","tools":[{}]}`}, {"/v1/responses", "max_output_tokens", `{"input":"a","max_output_tokens":0}`},
		{"/v1/responses", "input[0].role", `{"input":[{"role":"x","content":"a"}]}`},
		{"/v1/messages", "max_tokens", `{"messages":[{"role":"user","content":"a"}]}`}, {"/v1/messages", "messages", `{"max_tokens":1}`}, {"/v1/messages", "tools", `{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[{}]}`},
	} {
		if message, param := r.refused(c.path, c.body, 400); param != c.field {
			t.Errorf("%s %s: want the field %q, got %q: %s", c.path, c.body, c.field, param, message)
		}
	}
	if _, data := r.post("/v1/messages", `{}`); !strings.HasPrefix(string(data), `{"error":{`) || !strings.Contains(string(data), `"type":"error"`) {
		t.Errorf("got %s", data)
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
