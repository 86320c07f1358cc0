package tokenizer

import (
	"strings"
	"testing"
)

// Two files of the same pieces have no difference, whatever their form; another piece, a
// further one or another BOS is named.
func TestDifference(t *testing.T) {
	const base = `{"added_tokens":[{"id":0,"content":"<s>","special":true}],"model":{"type":"BPE","vocab":{"<s>":0,"a":1,"b":2,"ab":3},"merges":["a b"]}}`
	parse := func(text string) *Tokenizer {
		tok, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	for _, c := range []struct{ from, to, want string }{
		{`"merges":["a b"]`, `"merges":[["a","b"]]`, ""},
		{`"added_tokens":[`, `"added_tokens":[{"id":4,"content":"<pad>","special":true},`, ""},
		{`"a":1,"b":2`, `"a":2,"b":1`, `id 1 is "a" for one and "b" for the other`},
		{`"ab":3}`, `"ab":3,"c":4}`, `id 4 is "c" for one and nothing for the other`},
		{`"<s>"`, `"<bos>"`, `id 0 is "<s>" for one and "<bos>" for the other`},
	} {
		other := parse(strings.ReplaceAll(base, c.from, c.to))
		if got := parse(base).Difference(other); got != c.want {
			t.Errorf("%s: want %q, got %q", c.to, c.want, got)
		}
	}
}
