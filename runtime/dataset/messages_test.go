package dataset

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"mop/runtime/chat"
	"mop/runtime/tokenizer"
)

// Tokens and labels are those of transformers; testdata/chat.py makes them.
func TestChatGolden(t *testing.T) {
	tok, err := tokenizer.OpenFile("testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Template string
		Examples []struct {
			Tokens []int32
			Labels []int
		}
	}
	text, err := os.ReadFile("testdata/chat.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	f := File{Path: "testdata/chat.jsonl", Template: func() (*chat.Template, error) {
		return chat.Parse("golden", golden.Template, map[string]string{"bos_token": "<s>", "eos_token": "</s>"})
	}}
	got, skipped, err := ReadExamples(f, tok, 512)
	if err != nil || len(skipped) > 0 || len(got) != len(golden.Examples) {
		t.Fatalf("want %d examples, got %d, %v, %v", len(golden.Examples), len(got), skipped, err)
	}
	for i, want := range golden.Examples {
		var labels []int
		for j := range got[i].Tokens {
			labels = append(labels, 0)
			if got[i].IsTarget(j) {
				labels[j] = 1
			}
		}
		if !slices.Equal(got[i].Tokens, want.Tokens) || !slices.Equal(labels, want.Labels) {
			t.Errorf("row %d:\nwant %v %v\ngot  %v %v", i+1, want.Tokens, want.Labels, got[i].Tokens, labels)
		}
		if n := got[i].Targets(); n != sum(labels) {
			t.Errorf("row %d: Targets: want %d, got %d", i+1, sum(labels), n)
		}
	}
	// A shorter length cuts the conversation, and takes the turns behind it away.
	short, skipped, err := ReadExamples(f, tok, 24)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range short {
		if len(e.Tokens) > 24 || e.Targets() == 0 || !slices.Equal(e.Tokens, golden.Examples[e.Row-1].Tokens[:len(e.Tokens)]) {
			t.Errorf("row %d of at most 24 tokens: got %v", e.Row, e)
		}
	}
	for _, s := range skipped {
		if !strings.Contains(s.Reason, "24 tokens") {
			t.Errorf("row %d: skipped: %s", s.Row, s.Reason)
		}
	}
}

func sum(x []int) (n int) {
	for _, v := range x {
		n += v
	}
	return n
}

// Without a template, rows of messages are an error of the file. A template that cannot
// render a row skips it.
func TestChatTemplateErrors(t *testing.T) {
	tok := letters(t)
	rows := `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}` + "\n" + `{"messages":[{"role":"assistant","content":"c"}]}`
	path := write(t, "x.jsonl", rows)
	for _, f := range []File{{Path: path}, {Path: path, Template: func() (*chat.Template, error) { return nil, chat.ErrNone }}} {
		_, _, err := ReadExamples(f, tok, 64)
		if err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), "chat template") {
			t.Errorf("without a template: got %v", err)
		}
		if f.Template != nil && !errors.Is(err, chat.ErrNone) {
			t.Errorf("want ErrNone, got %v", err)
		}
	}
	f := File{Path: path, Template: func() (*chat.Template, error) { return chat.Builtin("llama-2", nil) }}
	got, skipped, err := ReadExamples(f, tok, 64)
	if err != nil || len(got) != 1 || len(skipped) != 1 || skipped[0].Row != 2 || !strings.Contains(skipped[0].Reason, "the user first") {
		t.Errorf("got %v, %v, %v", got, skipped, err)
	}
}
