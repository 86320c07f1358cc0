package safetensors

import (
	"strings"
	"testing"
)

func TestIndexRefused(t *testing.T) {
	for _, c := range []struct{ index, want string }{
		{``, "truncated"},
		{`{}`, "at least one tensor"},
		{`{"weight_map":{}}`, "at least one tensor"},
		{`{"weight_map":null}`, "want {"},
		{`{"Weight_Map":{"a":"m.safetensors"}}`, "at least one tensor"},
		{`{"weight_map":{"a":1}}`, "want a string"},
		{`{"weight_map":{"a":"m.safetensors","a":"n.safetensors"}}`, "a stands twice"},
		{`{"weight_map":{"a":"m.safetensors"},"weight_map":{"b":"m.safetensors"}}`, "stands twice"},
		{`{"weight_map":{"a":"m.safetensors"}} x`, "invalid character"},
		{`{"weight_map":{"a":"../m.safetensors"}}`, "same directory or below, got ../m.safetensors"},
		{`{"weight_map":{"a":"/etc/m.safetensors"}}`, "same directory"},
		{`{"weight_map":{"a":"sub/../../m.safetensors"}}`, "same directory"},
		{`{"weight_map":{"a":"C:m.safetensors"}}`, "same directory"},
		{`{"weight_map":{"a":"sub\\m.safetensors"}}`, "same directory"},
		{`{"weight_map":{"a":".."}}`, "same directory"},
		{`{"weight_map":{"a":""}}`, "same directory"},
		{`{"weight_map":{"a":"config.json"}}`, "same directory"},
		{`{"weight_map":{"a":"m\u0000.safetensors"}}`, "same directory"},
		{`{"metadata":{"total_size":`, "unexpected EOF"},
	} {
		if _, err := parseIndex([]byte(c.index)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.index, c.want, err)
		}
	}
}

// Names below the directory are accepted in any spelling.
func TestIndexAccepted(t *testing.T) {
	for name, want := range map[string]string{"m.safetensors": "m.safetensors", "./m.safetensors": "m.safetensors", "sub/m.safetensors": "sub/m.safetensors", "sub/../m.safetensors": "m.safetensors"} {
		x, err := parseIndex([]byte(`{"weight_map":{"a":"` + name + `"}}`))
		if err != nil || x["a"] != want {
			t.Errorf("%s: want %s, got %v, %v", name, want, x, err)
		}
	}
}
