package dataset

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mop/runtime/tokenizer"
)

// A text is cut into windows of BOS and context-1 tokens. BOS is never scored. With a
// stride a window scores only tokens that no earlier one scored. Windows do not cross
// documents, and a limit takes the first tokens of each document. Worked by hand.
func TestWindows(t *testing.T) {
	tok := letters(t)
	for _, c := range []struct {
		docs                   string // with | between
		context, stride, limit int
		want                   string
	}{
		{"abcdef", 4, 0, 0, "(^)_ab (^)cde (^)f"},
		{"abcde", 4, 0, 0, "(^)_ab (^)cde"},
		{"abcde", 4, 3, 0, "(^)_ab (^)cde"},
		{"abcde", 4, 1, 0, "(^)_ab (^ab)c (^bc)d (^cd)e"},
		{"abcde", 4, 2, 0, "(^)_ab (^b)cd (^d)e"},
		{"abcde", 9, 0, 0, "(^)_abcde"},
		{"abc|de", 4, 0, 0, "(^)_ab (^)c (^)_de"},
		{"abcdef|gh", 4, 0, 4, "(^)_ab (^)c (^)_gh"},
		{"abcdef|gh", 16, 0, 2, "(^)_a (^)_g"},
		{"ab", 2, 0, 0, "(^)_ (^)a (^)b"},
	} {
		w, err := Windows(tok, strings.Split(c.docs, "|"), c.context, c.stride, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		if got := spell(w); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
	for _, bad := range [][3]int{{1, 0, 0}, {0, 0, 0}, {-4, 0, 0}, {4, 4, 0}, {4, -1, 0}} {
		if _, err := Windows(tok, []string{"ab"}, bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("context %d, stride %d: want an error", bad[0], bad[1])
		}
	}
}

// Without BOS a window is context tokens, the first of which is never a target. Worked by
// hand.
func TestWindowsWithoutBOS(t *testing.T) {
	// Letters a to z are the tokens 4 to 29; no token is named as BOS.
	var vocab []string
	for i := range 26 {
		vocab = append(vocab, fmt.Sprintf("%q:%d", string(rune('a'+i)), 4+i))
	}
	tok, err := tokenizer.Parse([]byte(`{"model":{"type":"BPE","vocab":{` + strings.Join(vocab, ",") + `},"merges":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	checkWithoutBOS(t, tok)
	// The same of a tokenizer that has one.
	named, err := tokenizer.Parse([]byte(`{"added_tokens":[{"id":1,"content":"<s>","special":true}],"model":{"type":"BPE","vocab":{"<s>":1,` + strings.Join(vocab, ",") + `},"merges":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if named.BOS() != 1 {
		t.Fatalf("want a tokenizer with BOS, got %d", named.BOS())
	}
	checkWithoutBOS(t, named.WithoutBOS())
}

func checkWithoutBOS(t *testing.T, tok *tokenizer.Tokenizer) {
	t.Helper()
	for _, c := range []struct {
		docs                   string
		context, stride, limit int
		want                   string
	}{
		{"abcdef", 3, 0, 0, "(a)bc (d)ef"},
		{"abcdefg", 3, 0, 0, "(a)bc (d)ef"}, // a window of one id scores nothing
		{"abcdefgh", 3, 0, 0, "(a)bc (d)ef (g)h"},
		{"abcde", 3, 1, 0, "(a)bc (bc)d (cd)e"},
		{"abcdef", 3, 2, 0, "(a)bc (c)de (e)f"},
		{"abcd", 9, 0, 0, "(a)bcd"},
		{"abc|d|ef", 2, 0, 0, "(a)b (e)f"},
		{"abcdef", 4, 0, 5, "(a)bcd"},
		{"a", 2, 0, 0, ""},
	} {
		w, err := Windows(tok, strings.Split(c.docs, "|"), c.context, c.stride, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		if got := spell(w); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
	if _, err := Windows(tok, []string{"ab"}, 4, 5, 0); err == nil {
		t.Error("stride 5 of windows of 4: want an error")
	}
}

// Every token is scored once, with any stride.
func TestWindowsScoresOnce(t *testing.T) {
	tok := letters(t)
	text := strings.Repeat("abcdefgh", 9)
	want, err := tok.Encode([]byte(text), tokenizer.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for context := 2; context < 20; context++ {
		for stride := range context {
			w, err := Windows(tok, []string{text}, context, stride, 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, x := range w {
				if x.FirstScored < 1 || len(x.Tokens) > context {
					t.Fatalf("context %d, stride %d: window %v", context, stride, x)
				}
				got = append(got, x.Tokens[x.FirstScored:]...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("context %d, stride %d: scored %v", context, stride, got)
			}
		}
	}
}
