package dataset

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"mop/runtime/tokenizer"
)

// Tokens, targets and truncation are those of testdata/examples.py, which follows
// the released runs with transformers' tokenizer. Bad rows are named.
func TestExamplesGolden(t *testing.T) {
	tok, err := tokenizer.OpenFile("testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []Example
	text, err := os.ReadFile("testdata/examples.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	got, skipped, err := ReadExamples(File{Path: "testdata/data.json"}, tok, 175)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("want %d examples, got %d", len(want), len(got))
	}
	for i := range want {
		if got[i].Row != want[i].Row || got[i].FirstTarget != want[i].FirstTarget || !slices.Equal(got[i].Tokens, want[i].Tokens) {
			t.Errorf("example %d:\nwant %v\ngot  %v", i, want[i], got[i])
		}
	}
	wantSkipped := []SkippedRow{{4, "no output"}, {9, "the prompt alone takes all 175 tokens"}, {16, "instruction is not a string"}, {21, "no instruction"}}
	if !slices.Equal(skipped, wantSkipped) {
		t.Errorf("skipped: want %v, got %v", wantSkipped, skipped)
	}
}
