package dataset

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"mop/runtime/tokenizer"
)

// The three formats of calibration files, with the first prompts or a seeded sample.
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
	got, there, err := Prompts(tok, File{Path: rows}, 2, 64, false, 0)
	if err != nil || there != 3 || spellIDs(got) != "^_a ^_bc" {
		t.Errorf("rows: %s, %d, %v", spellIDs(got), there, err)
	}
	if got, _, err := Prompts(tok, File{Path: rows}, 5, 3, false, 0); err != nil || spellIDs(got) != "^_a ^_b ^_d" {
		t.Errorf("a prompt longer than the context is cut: %s, %v", spellIDs(got), err)
	}
	differ := false
	for seed := range uint64(8) {
		a, _, err1 := Prompts(tok, File{Path: rows}, 2, 64, true, seed)
		b, _, err2 := Prompts(tok, File{Path: rows}, 2, 64, true, seed)
		if err1 != nil || err2 != nil || !reflect.DeepEqual(a, b) || len(a) != 2 {
			t.Errorf("seed %d: %v, %v, %v %v", seed, a, b, err1, err2)
		}
		differ = differ || !reflect.DeepEqual(a, got)
	}
	if !differ {
		t.Error("no seed of eight draws another sample than the first rows")
	}
	text := write(t, "x.txt", strings.Repeat("a", 600))
	windows, there, err := Prompts(tok, File{Path: text}, 128, 1024, false, 0)
	if err != nil || there != 3 || len(windows[0]) != promptTokens+1 || len(windows[2]) != 601-2*promptTokens+1 {
		t.Errorf("a text: %d windows, %v", there, err)
	}
	// The template of the released runs.
	for _, c := range []struct{ row, want string }{
		{`{"instruction":"say","input":"me","output":"x"}`, "Instruction: say\nInput: me\nResponse:"},
		{`{"instruction":"say","input":"","output":"x"}`, "Instruction: say\nResponse:"},
	} {
		got, _, err := Prompts(tok, File{Path: write(t, "x.json", "["+c.row+"]")}, 1, 512, false, 0)
		want, err2 := tok.Encode([]byte(c.want), tokenizer.EncodeOptions{BOS: true})
		if err != nil || err2 != nil || fmt.Sprint(got) != fmt.Sprint([][]int{want}) {
			t.Errorf("%s: got %v, want %v, %v", c.row, got, want, err)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"x.json", "[]", "no text"},
		{"x.json", "{}", "1 skipped: row 1: an empty object"},
		{"x.json", "[7]", "1 skipped: row 1: not a JSON object"},
		{"x.jsonl", "\n", "no text"},
		{"x.txt", "", "no text"},
	} {
		path := write(t, c.name, c.text)
		if _, _, err := Prompts(tok, File{Path: path}, 4, 64, false, 0); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s %q: want an error with the file and %q, got %v", c.name, c.text, c.want, err)
		}
	}
}

// ScienceQA's problems.json gives prompts in the order of the questions' numbers.
func TestScienceQAPrompts(t *testing.T) {
	problems := write(t, "problems.json", `{
		"12": {"question": "Which?", "choices": ["b", "c"], "answer": 1, "hint": "h", "image": "image.png"},
		"3": {"question": "Who?", "choices": ["a"], "answer": 0, "image": null}}`)
	rows := write(t, "rows.jsonl", `{"question": "Who?", "choices": ["a"], "answer": 0}`+"\n"+`{"question": "Which?", "choices": ["b", "c"], "answer": 1}`+"\n"+`{"question": "x", "choices": []}`)
	for _, path := range []string{problems, rows} {
		var texts []string
		f := File{Path: path}
		if err := f.read(func(table *table) error {
			for _, r := range table.rows {
				text, err := promptText(nil, r)
				if err != nil {
					return err
				}
				texts = append(texts, text+"|"+r.completion)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		want := []string{"Question: Who?\nChoices: A) a\nAnswer:| A", "Question: Which?\nChoices: A) b B) c\nAnswer:| B"}
		if !reflect.DeepEqual(texts, want) {
			t.Errorf("%s: want %q, got %q", path, want, texts)
		}
	}
}
