package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// randomImage replaces n tokens of a prompt from one on by random embeddings.
func randomImage(r *rand.Rand, at, n, hidden int) (Image, model.Embeddings) {
	rows := make([]float32, n*hidden)
	for i := range rows {
		rows[i] = float32(r.NormFloat64())
	}
	return Image{At: at, Tokens: n, Compute: func() ([]float32, error) { return rows, nil }}, model.Embeddings{At: at, Rows: rows}
}

// A prompt with images gives the tokens of package generate beside others, wherever its chunks
// are cut, and an image that fails ends its own request only.
func TestImages(t *testing.T) {
	m := heterogeneousModel(t)
	random := rand.New(rand.NewPCG(1, 2))
	for _, stepTokens := range []int{0, 16} {
		e := newEngine(t, m, Options{MaxBatch: 4, StepTokens: stepTokens})
		plain := Request{Prompt: randomPrompt(random, 40), MaxTokens: 12, IgnoreEOS: true}
		seen := Request{Prompt: randomPrompt(random, 60), MaxTokens: 12, IgnoreEOS: true}
		var embeddings []model.Embeddings
		for _, at := range []int{3, 20} {
			image, given := randomImage(random, at, 15, m.Config.HiddenSize)
			seen.Images, embeddings = append(seen.Images, image), append(embeddings, given)
		}
		broken := Request{Prompt: randomPrompt(random, 30), MaxTokens: 12, Images: []Image{{At: 1, Tokens: 2, Compute: func() ([]float32, error) { return nil, errors.New("no picture") }}}}
		short := broken
		short.Images = []Image{{At: 1, Tokens: 2, Compute: func() ([]float32, error) { return make([]float32, 3), nil }}}
		want := [][]int{alone(t, m, plain), withEmbeddings(t, m, seen, embeddings)}
		var results []*Result
		for _, r := range []Request{plain, seen, broken, short} {
			results = append(results, submit(t, e, r))
		}
		for step(t, e) {
		}
		for i, w := range want {
			if got := ids(t, results[i]); !slices.Equal(got, w) {
				t.Errorf("step of %d tokens, request %d: want %v, got %v", stepTokens, i, w, got)
			}
		}
		for _, r := range results[2:] {
			if _, done, err := r.Next(t.Context()); !done || err == nil || r.Finish() != FinishError {
				t.Errorf("an image that fails: got %v, %q", err, r.Finish())
			}
		}
		if s := e.Stats(); s.PagesUsed != 0 || s.Running != 0 {
			t.Errorf("want all pages free, got %+v", s)
		}
	}
	e := newEngine(t, m, Options{MaxBatch: 1})
	image, _ := randomImage(random, 2, 3, m.Config.HiddenSize)
	for _, images := range [][]Image{{{At: 8, Tokens: 3, Compute: image.Compute}}, {image, image}, {{At: 1, Tokens: 0, Compute: image.Compute}}, {{At: -1, Tokens: 2, Compute: image.Compute}}, {{At: 1, Tokens: 2}}} {
		if _, err := e.Submit(Request{Prompt: randomPrompt(random, 10), Images: images}); err == nil {
			t.Errorf("%+v: want an error", images)
		}
	}
}

// withEmbeddings is what a request with images gives by package generate.
func withEmbeddings(t *testing.T, m *model.Model, r Request, embeddings []model.Embeddings) (out []int) {
	t.Helper()
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, len(r.Prompt)+r.MaxTokens)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	o := generate.Options{SamplingParams: r.Sampling, MaxTokens: r.MaxTokens, IgnoreEOS: true, Embeddings: [][]model.Embeddings{embeddings}}
	if err := generate.Run(context.Background(), m, cache, [][]int{r.Prompt}, o, func(_, tokens []int) []int {
		out = append(out, tokens[0])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}
