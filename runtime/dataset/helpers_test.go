package dataset

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/runtime/tokenizer"
)

// letters is a tokenizer with one token for each letter: a is 4, z is 29, then come the
// capitals, the colon and the newline. A space is 3 and BOS is 1. It puts a space in
// front of every text.
func letters(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	data := []byte{8, 0, 0, 0}
	pieces := []string{"<unk>", "<s>", "</s>", " "}
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:\n" {
		pieces = append(pieces, string(c))
	}
	for _, p := range pieces {
		data = binary.LittleEndian.AppendUint32(append(data, 0, 0, 0, 0), uint32(len(p)))
		data = append(data, p...)
	}
	tok, err := tokenizer.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// spell writes windows as text, with the tokens before FirstScored in brackets.
func spell(windows []Window) string {
	var out []string
	for _, w := range windows {
		var b strings.Builder
		for i, id := range w.Tokens {
			s := map[int]string{1: "^", 3: "_"}[id]
			if id > 3 {
				s = string(rune('a' + id - 4))
			}
			if i < w.FirstScored {
				s = "(" + s + ")"
			}
			b.WriteString(s)
		}
		out = append(out, b.String())
	}
	return strings.ReplaceAll(strings.Join(out, " "), ")(", "")
}
