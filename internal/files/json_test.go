package files

import (
	"encoding/json"
	"testing"
)

// An error of a wrong type names the field and JSON's types.
func TestPlainJSON(t *testing.T) {
	var v struct {
		Name  string  `json:"name"`
		Count int     `json:"count"`
		Share float64 `json:"share"`
		On    bool    `json:"on"`
		List  []struct {
			X string `json:"x"`
		} `json:"list"`
		Map map[string]int `json:"map"`
	}
	for text, want := range map[string]string{
		`{"name":7}`: "name: want a string, got a number", `{"count":"x"}`: "count: want a whole number, got a string", `{"count":1.5}`: "count: want a whole number, got 1.5",
		`{"share":[]}`: "share: want a number, got a list", `{"on":{}}`: "on: want true or false, got an object", `{"list":true}`: "list: want a list, got true or false",
		`{"list":[{"x":1}]}`: "list.x: want a string, got a number", `{"map":[]}`: "map: want an object, got a list", `[]`: "want an object, got a list",
		`{`: "unexpected end of JSON input",
	} {
		if err := PlainJSON(json.Unmarshal([]byte(text), &v)); err == nil || err.Error() != want {
			t.Errorf("%s: want %q, got %v", text, want, err)
		}
	}
	if PlainJSON(nil) != nil {
		t.Error("nil is no error")
	}
}
