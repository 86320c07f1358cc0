package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// pipelineGolden is testdata/pipelines.json, which pipelines.py writes.
type pipelineGolden struct {
	Texts []string
	Cases []struct {
		File string
		IDs  [][]int // by text
	}
}

func readPipelines(t testing.TB) pipelineGolden {
	t.Helper()
	data, err := os.ReadFile("testdata/pipelines.json")
	if err != nil {
		t.Fatal(err)
	}
	var g pipelineGolden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// The pipelines of model families give the ids of the tokenizers library and of
// sentencepiece.
func TestPipelines(t *testing.T) {
	g := readPipelines(t)
	for _, c := range g.Cases {
		t.Run(c.File, func(t *testing.T) {
			tok, err := OpenFile(filepath.Join("testdata", c.File))
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.IDs {
				got, err := tok.Encode([]byte(g.Texts[i]), EncodeOptions{})
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%q:\nwant %v\ngot  %v, %v", g.Texts[i], want, got, err)
				}
			}
		})
	}
	if len(g.Cases) < 28 {
		t.Errorf("want 28 pipelines at least, got %d", len(g.Cases))
	}
}

// Encoding in chunks gives the same ids for every pipeline.
func TestPipelinesInChunks(t *testing.T) {
	for _, c := range readPipelines(t).Cases {
		tok := parseFile(t, c.File)
		for seed := range uint64(2) {
			sameInChunks(t, c.File, tok, trickyText(seed, 400))
		}
	}
}
