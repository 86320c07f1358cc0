package modelcard

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/config"
)

func shape(heads, neurons int) config.LayerShape {
	return config.LayerShape{Heads: heads, KVHeads: min(heads, 1), HeadDim: 4, Intermediate: neurons}
}

// The card names the shapes, the sections, and what each form of a model wants of its
// engines.
func TestMarkdown(t *testing.T) {
	base := config.Config{VocabSize: 9, HiddenSize: 12, HeadDim: 4, RopeTheta: 1e4, NormEps: 1e-5, MaxPositions: 64, BOS: -1, DType: "float32"}
	for _, x := range []struct {
		name       string
		layers     []config.LayerShape
		hfType     string
		wants, not []string
	}{
		{"uniform", slices.Repeat([]config.LayerShape{shape(3, 7)}, 4), "", []string{"| 0 to 3 | 3 | 1 | 7 |", "vllm serve DIR\n"}, []string{"trust", "Mistral"}},
		{"odd heads", slices.Repeat([]config.LayerShape{shape(5, 7)}, 2), "", []string{"Mistral without a sliding window"}, []string{"trust"}},
		{"odd heads, llama", slices.Repeat([]config.LayerShape{shape(5, 7)}, 2), config.TypeLlama, []string{"refuse"}, []string{"trust"}},
		{"different", []config.LayerShape{shape(0, 7), shape(3, 7), shape(3, 7), shape(3, 0)}, "", []string{
			"| 0 | 0 | 0 | 7 |\n| 1 to 2 | 3 | 1 | 7 |\n| 3 | 3 | 1 | 0 |", "trust_remote_code=True)", "vllm serve DIR --trust-remote-code", "pretrained=DIR,trust_remote_code=True"}, nil},
	} {
		c := base
		c.Layers, c.HFType = x.layers, x.hfType
		text := string(Card{Title: "T", Origin: "From `x`.", Sections: []Section{{"Plan", "| a |\n"}}}.Markdown(&c))
		for _, want := range append(x.wants, "# T\n\nFrom `x`.\n", "## Plan\n\n| a |\n", "mop export gguf") {
			if !strings.Contains(text, want) {
				t.Errorf("%s: want %q in\n%s", x.name, want, text)
			}
		}
		for _, not := range append(x.not, "{", "~") {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q in\n%s", x.name, not, text)
			}
		}
	}
}

// A README.md that somebody wrote is kept; mop's own is written again.
func TestContentsKeepsForeignCards(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{VocabSize: 9, HiddenSize: 12, HeadDim: 4, Layers: []config.LayerShape{shape(3, 7)}, DType: "float32"}
	card := Card{Title: "new"}
	want := card.Markdown(c)
	for _, old := range []string{"", "# mine\n", string(Card{Title: "old"}.Markdown(c))} {
		if old != "" {
			if err := os.WriteFile(filepath.Join(dir, File), []byte(old), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got := card.Contents(dir, c)
		if foreign := strings.HasPrefix(old, "# mine"); foreign && string(got) != old || !foreign && !bytes.Equal(got, want) {
			t.Errorf("over %q: got\n%s", old, got)
		}
	}
}
