package model_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/nlpodyssey/safetensors"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// The logits are those of transformers in float32 from the same stored weights, for
// every kind of shape, type and RoPE scaling. testdata/golden.py made them. Models
// whose layers differ are dense models with zeroed heads and neurons there, so this
// also tests that a cut model equals a zeroed one.
func TestLogitsAreTransformers(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/golden.json")
	if err != nil || len(cases) < 8 {
		t.Fatalf("want at least 8 golden models, got %d, %v", len(cases), err)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var g struct{ IDs []int }
			if err := json.Unmarshal(text, &g); err != nil {
				t.Fatal(err)
			}
			want := goldenLogits(t, filepath.Join(dir, "golden.safetensors"))
			src, err := checkpoint.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			m := load(t, src, 2)
			got := logits(t, m, 1, []model.Chunk{{Slot: 0, Tokens: g.IDs}})
			if len(g.IDs) == 0 || len(got)*m.Config.VocabSize != len(want) {
				t.Fatalf("want %d logits, got %d rows of %d", len(want), len(got), m.Config.VocabSize)
			}
			top, worst, at := 0.0, 0.0, 0
			for i, w := range want {
				top = max(top, math.Abs(float64(w)))
				if d := math.Abs(float64(w - got[i/m.Config.VocabSize][i%m.Config.VocabSize])); d > worst || d != d {
					worst, at = d, i
				}
			}
			tolerance := 1e-4 * max(1, top)
			t.Logf("worst difference %.2g, %.1f %% of the tolerance", worst, 100*worst/tolerance)
			if !(worst <= tolerance) {
				t.Errorf("position %d, token %d: want %v, got %v, tolerance %v", at/m.Config.VocabSize, at%m.Config.VocabSize, want[at], got[at/m.Config.VocabSize][at%m.Config.VocabSize], tolerance)
			}
		})
	}
}

func goldenLogits(t *testing.T, path string) []float32 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := safetensors.Deserialize(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range st.Tensors() {
		if v.Name == "logits" {
			b := v.TensorView.Data()
			return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
		}
	}
	t.Fatalf("%s: no logits", path)
	return nil
}

// The greedy text is that of llama2.c, 464 bytes.
func TestGreedyTextIsLlama2c(t *testing.T) {
	src, err := llama2c.Open(testutil.DataPath(t, "stories260K/stories260K.bin"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.OpenFile(testutil.DataPath(t, "stories260K/tok512.bin"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(testutil.DataPath(t, "stories260K/expected_greedy_200steps.txt"))
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, src, 2)
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, 256)
	if err != nil {
		t.Fatal(err)
	}
	stream := tok.Stream(tok.BOS())
	var got []byte
	err = generate.Run(context.Background(), m, cache, [][]int{{tok.BOS()}}, generate.Options{MaxTokens: 200}, func(_, tokens []int) []int {
		b, err := stream.Push(tokens[0])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got = append(got, stream.Flush()...); string(got) != string(want) {
		t.Errorf("want %q\ngot  %q", want, got)
	}
}
