package vision

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device/cpu"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// summary is a tensor in a golden file: some of its numbers, and sums.
type summary struct {
	Shape       []int
	Sum         float64
	AbsSum      float64 `json:"abs_sum"`
	First, Last []float64
}

type goldenCase struct {
	Pictures            []string
	Question, Prompt    string
	IDs                 []int
	Features, Projected summary
	LogitRows           []int `json:"logit_rows"`
	Logits              [][]float64
	MaxAbsLogit         float64 `json:"max_abs_logit"`
	Greedy              []int
	Text                string
}

func readCases(t *testing.T, dir string) []goldenCase {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Cases []goldenCase }
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) != 2 {
		t.Fatalf("%s: want 2 cases, got %d", dir, len(golden.Cases))
	}
	return golden.Cases
}

// near holds numbers to the golden ones, to 1e-4 of the largest.
func near(t *testing.T, what string, want, got []float64, largest float64) {
	t.Helper()
	for i, w := range want {
		if d := math.Abs(w - got[i]); !(d <= 1e-4*largest) {
			t.Errorf("%s: number %d: want %v, got %v, %.1g of the largest", what, i, w, got[i], d/largest)
			return
		}
	}
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// Small random LLaVAs in all layouts give the features, the logits and the greedy text of
// transformers' LlavaForConditionalGeneration; testdata/llava.py makes the expected values.
// MOP_LLAVAS lists further models, for which testdata/load.py made them.
func TestGolden(t *testing.T) {
	dirs := []string{"testdata/models/dense", "testdata/models/pruned", "testdata/models/flat"}
	if more := os.Getenv("MOP_LLAVAS"); more != "" {
		dirs = append(dirs, strings.Split(more, ",")...)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			dev, err := cpu.New(2)
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			src, err := checkpoint.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			m, err := model.Load(dev, src)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			l, err := OpenLLaVA(dev, dir, src)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for i, c := range readCases(t, dir) {
				checkCase(t, m, l, c, i)
			}
		})
	}
}

func checkCase(t *testing.T, m *model.Model, l *LLaVA, c goldenCase, i int) {
	t.Helper()
	var images [][]float32
	var all, projected []float64
	for _, name := range c.Pictures {
		p, err := ReadPicture(filepath.Join("testdata/pictures", name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.Tower.Features(l.Processor.Pixels(p))
		if err != nil {
			t.Fatal(err)
		}
		e, err := l.Embed(p)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, e)
		all, projected = append(all, wide(f)...), append(projected, wide(e)...)
	}
	for _, x := range []struct {
		what string
		want summary
		got  []float64
	}{{"features", c.Features, all}, {"projected features", c.Projected, projected}} {
		n, sum, abs, largest := 1, 0.0, 0.0, 0.0
		for _, s := range x.want.Shape {
			n *= s
		}
		if n != len(x.got) {
			t.Fatalf("case %d: %s: want %v, got %d numbers", i, x.what, x.want.Shape, len(x.got))
		}
		for _, v := range x.got {
			sum, abs, largest = sum+v, abs+math.Abs(v), max(largest, math.Abs(v))
		}
		near(t, x.what, x.want.First, x.got, largest)
		near(t, x.what, x.want.Last, x.got[n-len(x.want.Last):], largest)
		near(t, x.what+", sums", []float64{x.want.Sum, x.want.AbsSum}, []float64{sum, abs}, x.want.AbsSum)
	}
	prompt, err := l.Prompt(c.Question, len(images))
	if err != nil {
		t.Fatal(err)
	}
	if got := prompt; got != c.Prompt && got != "<s>"+c.Prompt {
		t.Errorf("case %d: want the prompt %q, got %q", i, c.Prompt, got)
	}
	in, err := l.Encode(prompt, images)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(c.IDs)
	for _, e := range in.Embeddings { // tokens of images have no id of their own in LLaVA's releases
		for j := range l.Tower.Config.Tokens() {
			if e.At+j < len(want) {
				want[e.At+j] = l.filler()
			}
		}
	}
	if !slices.Equal(want, in.Tokens) {
		t.Fatalf("case %d: want tokens\n%v, got\n%v", i, want, in.Tokens)
	}
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, m.Config.MaxPositions)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Tokens: in.Tokens, Embeddings: in.Embeddings}}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Logits(c.LogitRows, func(r int, z []float32) error {
		near(t, "logits", c.Logits[r], wide(z), c.MaxAbsLogit)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var greedy []int
	o := generate.Options{MaxTokens: len(c.Greedy), Embeddings: [][]model.Embeddings{in.Embeddings}}
	if err := generate.Run(context.Background(), m, cache, [][]int{in.Tokens}, o, func(_, tokens []int) []int {
		greedy = append(greedy, tokens...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(greedy, c.Greedy) {
		t.Errorf("case %d: want greedy tokens %v, got %v", i, c.Greedy, greedy)
	}
}
