package dataset

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mop/runtime/tokenizer"
)

// letters is a tokenizer that gives a letter a..z the id 4 and on, then capitals,
// colon and newline theirs, a space 3, BOS 1.
// Its rule puts a space in front of every text.
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

// spell writes windows as text: ids before First in brackets.
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

// A stream is cut into windows of context-1 ids with BOS, which is never a target,
// before each; a stride scores only what none before scored; windows do not cross
// documents; a limit takes each one's first ids. Worked by hand.
func TestCut(t *testing.T) {
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

// Every id is scored once, whatever the stride.
func TestCutScoresOnce(t *testing.T) {
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

func TestDocuments(t *testing.T) {
	for _, c := range []struct {
		name, text, separator string
		want                  []string
	}{
		{"x.txt", " one\nstream \n", "", []string{" one\nstream \n"}},
		{"x.txt", "a<|end|>\n b \n<|end|>  <|end|>c", "<|end|>", []string{"a", "b", "c"}},
		{"x.raw", "{\"text\":\"a\"}\n", "", []string{"{\"text\":\"a\"}\n"}},
		{"x.jsonl", "{\"text\":\"a\",\"other\":[1]}\n\n{\"text\":\" b\\n\"}", "", []string{"a", " b\n"}},
	} {
		if got, err := Documents(write(t, c.name, c.text), c.separator); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %q: got %q, %v", c.name, c.text, got, err)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"x.txt", " \n", "no text"},
		{"x.jsonl", "", "no text"},
		{"x.jsonl", "{\"text\":\"a\"}\nnot JSON", "line 2"},
		{"x.jsonl", "{\"txt\":\"a\"}", "line 1"},
		{"x.jsonl", "{\"text\":7}", "line 1"},
		{"x.jsonl", "[\"text\"]", "line 1"},
	} {
		path := write(t, c.name, c.text)
		if got, err := Documents(path, ""); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s %q: want an error with the file and %q, got %q, %v", c.name, c.text, c.want, got, err)
		}
	}
}

// The three kinds of calibration files; the first prompts or a seeded sample.
func TestPrompts(t *testing.T) {
	tok := letters(t)
	spellIDs := func(prompts [][]int) string {
		var w []Window
		for _, p := range prompts {
			w = append(w, Window{p, 0})
		}
		return spell(w)
	}
	rows := write(t, "x.jsonl", "{\"text\":\"a\"}\n{\"text\":\"bc\"}\n{\"text\":\"d\"}")
	got, there, err := Prompts(tok, rows, 2, 64, false, 0)
	if err != nil || there != 3 || spellIDs(got) != "^_a ^_bc" {
		t.Errorf("rows: %s, %d, %v", spellIDs(got), there, err)
	}
	if got, _, err := Prompts(tok, rows, 5, 3, false, 0); err != nil || spellIDs(got) != "^_a ^_b ^_d" {
		t.Errorf("a prompt longer than the context is cut: %s, %v", spellIDs(got), err)
	}
	differ := false
	for seed := range uint64(8) {
		a, _, err1 := Prompts(tok, rows, 2, 64, true, seed)
		b, _, err2 := Prompts(tok, rows, 2, 64, true, seed)
		if err1 != nil || err2 != nil || !reflect.DeepEqual(a, b) || len(a) != 2 {
			t.Errorf("seed %d: %v, %v, %v %v", seed, a, b, err1, err2)
		}
		differ = differ || !reflect.DeepEqual(a, got)
	}
	if !differ {
		t.Error("no seed of eight draws another sample than the first rows")
	}
	text := write(t, "x.txt", strings.Repeat("a", 600))
	windows, there, err := Prompts(tok, text, 128, 1024, false, 0)
	if err != nil || there != 3 || len(windows[0]) != promptTokens+1 || len(windows[2]) != 601-2*promptTokens+1 {
		t.Errorf("a text: %d windows, %v", there, err)
	}
	// The template of the released runs.
	for _, c := range []struct{ row, want string }{
		{`{"instruction":"say","input":"me","output":"x"}`, "Instruction: say\nInput: me\nResponse:"},
		{`{"instruction":"say","input":"","output":"x"}`, "Instruction: say\nResponse:"},
	} {
		got, _, err := Prompts(tok, write(t, "x.json", "["+c.row+"]"), 1, 512, false, 0)
		want, err2 := tok.Encode([]byte(c.want), tokenizer.EncodeOptions{BOS: true})
		if err != nil || err2 != nil || fmt.Sprint(got) != fmt.Sprint([][]int{want}) {
			t.Errorf("%s: got %v, want %v, %v", c.row, got, want, err)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"x.json", "[]", "no prompts"},
		{"x.json", "{}", "want a JSON array"},
		{"x.json", "[7]", "want a JSON array"},
		{"x.jsonl", "\n", "no text"},
		{"x.txt", "", "no text"},
	} {
		path := write(t, c.name, c.text)
		if _, _, err := Prompts(tok, path, 4, 64, false, 0); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s %q: want an error with the file and %q, got %v", c.name, c.text, c.want, err)
		}
	}
}
