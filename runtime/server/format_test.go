package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"mop/runtime/engine"
)

// A schema that turns out to have too many alternatives while its text is generated is an error
// that names the field of the client's own request, as a whole answer and in a stream.
func TestFormatErrorsNameTheField(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	_, data := r.post("/tokenize", `{"prompt":"[[","add_special_tokens":false}`)
	bias := map[string]int{}
	for _, token := range decode[struct{ Tokens []int }](t, data).Tokens {
		bias[fmt.Sprint(token)] = 100
	}
	biased, _ := json.Marshal(bias)
	again := `{"type":"array","items":{"$ref":"#/$defs/r"}}`
	schema := `{"$ref":"#/$defs/r","$defs":{"r":{"anyOf":[` + strings.Repeat(again+",", 3) + again + `]}}}`
	wrapped := `"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":` + schema + `}}`
	for _, c := range []struct{ path, field, body string }{
		{"/v1/completions", "response_format", `"prompt":"a",` + wrapped},
		{"/v1/chat/completions", "response_format", `"messages":[{"role":"user","content":"a"}],` + wrapped},
		{"/v1/responses", "text.format", `"input":"a","text":{"format":{"type":"json_schema","name":"a","schema":` + schema + `}}`},
	} {
		body := `{` + c.body + `,"logit_bias":` + string(biased) + `,"temperature":0`
		if message, param := r.refused(c.path, body+`}`, 400); param != c.field || !strings.HasPrefix(message, c.field+": ") {
			t.Errorf("%s: want the field %s, got %q: %s", c.path, c.field, param, message)
		}
		status, data := r.post(c.path, body+`,"stream":true}`)
		all := events(t, strings.NewReader(string(data)))
		last := decode[struct {
			Param string // of a response
			Error struct{ Param string }
		}](t, []byte(all[len(all)-1]))
		if status != 200 || last.Param+last.Error.Param != c.field {
			t.Errorf("%s as a stream: want the field %s, got %d: %s", c.path, c.field, status, all[len(all)-1])
		}
	}
	r.idle()
	r.complete(greedy + `}`)
}
