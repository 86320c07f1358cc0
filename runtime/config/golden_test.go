package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// goldenConfigs are uniform models as pruning leaves them: odd MLP widths, and
// in heads a hidden_size that is no multiple of the heads.
func goldenConfigs() map[string]*Config {
	base := Config{VocabSize: 97, HiddenSize: 48, HeadDim: 16, RopeTheta: 10000, NormEps: 1e-5, MaxPositions: 128, BOS: 1, EOS: []int{2}, DType: "float16"}
	plain, heads := base, base
	plain.Layers = slices.Repeat([]LayerShape{{3, 1, 16, 37}}, 3)
	plain.RopeTheta, plain.RopeScaling = 500, &RopeScaling{"llama3", 8, 1, 4, 32}
	plain.DType, plain.Tied, plain.EOS = "bfloat16", true, []int{2, 3}
	heads.Layers = slices.Repeat([]LayerShape{{5, 5, 16, 37}}, 2)
	heads.RopeScaling = &RopeScaling{Type: "linear", Factor: 2.5}
	plainMistral, headsMistral := plain, heads
	heads.HFType = TypeLlama
	plainMistral.HFType, headsMistral.HFType = TypeMistral, "" // the default for heads
	return map[string]*Config{"plain": &plain, "heads": &heads, "plain_mistral": &plainMistral, "heads_mistral": &headsMistral}
}

// Uniform models give the very text that transformers was seen to load: see
// testdata/transformers_check.json, made by testdata/transformers_check.py.
func TestTransformersGolden(t *testing.T) {
	for name, c := range goldenConfigs() {
		path := filepath.Join("testdata", name+".json")
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := must(Marshal(c)); string(got) != string(want) {
			t.Errorf("%s: want\n%s\ngot\n%s", path, want, got)
		}
	}
}
