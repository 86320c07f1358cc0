package gguf

import (
	"bytes"
	"encoding/json"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// goldenWeight is the formula of testdata/golden.py.
func goldenWeight(name string, i int) float32 {
	return float32((i*37+len(name)*101+i/7)%256-128) / 128
}

// sameWeights holds an imported directory to the formula, in every element.
func sameWeights(t *testing.T, dir string, want *config.Config) {
	t.Helper()
	d, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := d.Config(); !reflect.DeepEqual(got, want) {
		t.Errorf("config: want %+v\ngot  %+v", want, got)
	}
	for _, info := range checkpoint.ExpectedTensors(want) {
		x, err := d.Tensor(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		if x.DType.ConfigName() != want.DType {
			t.Errorf("%s: want %s, got %s", info.Name, want.DType, x.DType)
		}
		for i, v := range checkpoint.Float32s(x) {
			if w := goldenWeight(info.Name, i); v != w {
				t.Errorf("%s: element %d: want %v, got %v", info.Name, i, w, v)
				break
			}
		}
	}
}

// A uniform model that gguf wrote: F16, permuted rows, LLaMA-3's RoPE scaling.
func TestImportLlama(t *testing.T) {
	shape := config.LayerShape{Heads: 4, KVHeads: 2, HeadDim: 8, Intermediate: 5}
	want := &config.Config{
		VocabSize: 267, HiddenSize: 16, HeadDim: 8, Layers: []config.LayerShape{shape, shape}, RopeTheta: 500000,
		RopeScaling: &config.RopeScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalPositions: 8192},
		NormEps:     1e-5, MaxPositions: 64, BOS: 1, EOS: []int{2}, DType: "float16",
	}
	out := filepath.Join(t.TempDir(), "m")
	if _, err := Import("testdata/llama.gguf", out, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	sameWeights(t, out, want)
	wide := checkpoint.F32
	if _, err := Import("testdata/llama.gguf", out+"32", ImportOptions{DType: &wide}); err != nil {
		t.Fatal(err)
	}
	want.DType = "float32"
	sameWeights(t, out+"32", want)
}

// A model whose layers differ: BF16, a tied head, a layer without attention and one
// without an MLP.
func TestImportDeci(t *testing.T) {
	shapes := []config.LayerShape{{Heads: 3, KVHeads: 1, HeadDim: 4, Intermediate: 7}, {HeadDim: 4, Intermediate: 5}, {Heads: 4, KVHeads: 2, HeadDim: 4}, {Heads: 2, KVHeads: 2, HeadDim: 4, Intermediate: 9}}
	want := &config.Config{
		HiddenSize: 16, HeadDim: 4, Layers: shapes, RopeTheta: 10000, RopeScaling: &config.RopeScaling{Type: "linear", Factor: 4},
		NormEps: 1e-6, MaxPositions: 64, Tied: true, BOS: -1, EOS: []int{0, 2}, DType: "bfloat16",
	}
	want.VocabSize = 3 + 94 + 12 + 82 + 68 + 3
	out := filepath.Join(t.TempDir(), "m")
	if _, err := Import("testdata/deci.gguf", out, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	sameWeights(t, out, want)
}

func sideFiles(t *testing.T, path string) map[string]any {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := NewSource(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := s.TokenizerFiles("")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for name, text := range texts {
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = v
	}
	return out
}

// at walks into objects and lists.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(map[string]any)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	return v
}

func same(t *testing.T, what string, got any, want string) {
	t.Helper()
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(got); err != nil {
		t.Fatal(err)
	}
	if s := strings.TrimSpace(text.String()); s != want {
		t.Errorf("%s: want %s\ngot  %s", what, want, s)
	}
}

// Worked by hand: scores become merges, the highest first.
func TestSentencePieceTokenizer(t *testing.T) {
	files := sideFiles(t, "testdata/llama.gguf")
	j := files["tokenizer.json"]
	same(t, "merges", at(t, j, "model", "merges"), `[["a","b"],["▁","ab"],["ab","ab"]]`)
	same(t, "unk_token", at(t, j, "model", "unk_token"), `"<unk>"`)
	same(t, "byte_fallback", at(t, j, "model", "byte_fallback"), `true`)
	same(t, "normalizer", at(t, j, "normalizer", "normalizers"), `[{"prepend":"▁","type":"Prepend"},{"content":"▁","pattern":{"String":" "},"type":"Replace"}]`)
	same(t, "BOS", at(t, j, "post_processor", "single"), `[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]`)
	same(t, "user-defined token", at(t, j, "added_tokens", 3), `{"content":"<tool>","id":265,"lstrip":false,"normalized":false,"rstrip":false,"single_word":false,"special":false}`)
	vocab := at(t, j, "model", "vocab").(map[string]any)
	if _, ok := vocab["[PAD266]"]; ok || len(vocab) != 266 {
		t.Errorf("vocabulary: want 266 tokens without padding, got %d", len(vocab))
	}
	settings := files["tokenizer_config.json"]
	same(t, "chat template", at(t, settings, "chat_template"), `"{{ messages }}<b>"`)
	same(t, "add_bos_token", at(t, settings, "add_bos_token"), `true`)
	same(t, "unk_token", at(t, settings, "unk_token"), `"<unk>"`)
	same(t, "generation_config.json", files["generation_config.json"], `{"bos_token_id":1,"eos_token_id":2}`)
}

func TestBytePairTokenizer(t *testing.T) {
	files := sideFiles(t, "testdata/deci.gguf")
	j := files["tokenizer.json"]
	same(t, "merges", at(t, j, "model", "merges"), `[["a","b"],["Ġ","ab"],["ab","ab"]]`)
	same(t, "pre_tokenizer", at(t, j, "pre_tokenizer", "pretokenizers"),
		`[{"individual_digits":true,"type":"Digits"},{"add_prefix_space":false,"trim_offsets":true,"type":"ByteLevel","use_regex":true}]`)
	same(t, "post_processor", at(t, j, "post_processor"), `null`)
	same(t, "added token", at(t, j, "added_tokens", 2, "content"), `"<|im_end|>"`)
	settings := files["tokenizer_config.json"]
	same(t, "bos_token", at(t, settings, "bos_token"), `null`)
	same(t, "eos_token", at(t, settings, "eos_token"), `"<|endoftext|>"`)
	same(t, "generation_config.json", files["generation_config.json"], `{"eos_token_id":[0,2]}`)
}

// Equal scores, such as -1000 for all, leave the order of the tokens.
func TestEqualScores(t *testing.T) {
	v := &vocabulary{model: "llama", texts: []string{"a", "b", "c", "bc", "ab", "abc"}, scores: []float32{-1000, -1000, -1000, -1000, -1000, -1000}, bos: -1, eos: -1, unknown: -1, padding: -1}
	want := [][2]string{{"b", "c"}, {"a", "b"}, {"a", "bc"}, {"ab", "c"}}
	if got := v.scoreMerges(); !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

// The parameters of LLaMA-3's scaling are found from its factors.
func TestLlama3Factors(t *testing.T) {
	for _, r := range []config.RopeScaling{
		{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalPositions: 8192},
		{Type: "llama3", Factor: 32, LowFreqFactor: 1, HighFreqFactor: 4, OriginalPositions: 8192},
		{Type: "llama3", Factor: 16, LowFreqFactor: 2, HighFreqFactor: 8, OriginalPositions: 8192},
	} {
		c := &config.Config{HeadDim: 128, RopeTheta: 500000}
		bare := c.InvFreq()
		c.RopeScaling = &r
		info := TensorInfo{Name: "rope_freqs.weight", Type: F32, Shape: []int{64}}
		var data bytes.Buffer
		for i, f := range c.InvFreq() {
			put(&data, math.Float32bits(bare[i]/f))
		}
		info.Data = data.Bytes()
		c.RopeScaling = nil
		if err := (&File{}).llama3(c, info); err != nil {
			t.Errorf("%+v: %v", r, err)
		} else if *c.RopeScaling != r {
			t.Errorf("want %+v, got %+v", r, *c.RopeScaling)
		}
	}
}

// Two heads of size 4: the pairs (0,1)(2,3) of the file become the halves (0,2)(1,3).
func TestInterleaved(t *testing.T) {
	var got []int
	for row := range 8 {
		got = append(got, interleaved(row, 4))
	}
	if want := []int{0, 2, 1, 3, 4, 6, 5, 7}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

// Reading is bounded by the file: whatever it says, the tensors have no more
// elements than its bytes can hold.
func FuzzGGUF(f *testing.F) {
	for _, kind := range []Type{F32, F16, BF16, Q4_0, Q8_0} {
		f.Add(model(kind, nil).bytes())
	}
	f.Add(model(F16, map[string]any{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.merges": []string{"a b"}, "tokenizer.chat_template": "x"}).bytes())
	f.Add(model(F16, map[string]any{"llama.attention.head_count": []uint32{4}, "llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(2)}).tensor("output.weight", F16, 4, 32).bytes())
	f.Add(model(F16, map[string]any{ownWidths: []int32{3}, ownHeads: []int32{0}, ownScaling + "factor": float32(8), ownScaling + "low_freq_factor": float32(1),
		ownScaling + "high_freq_factor": float32(4), ownScaling + "original_context_length": uint32(16)}).tensor("rope_freqs.weight", F32, 4).bytes())
	f.Add(newBuilder().set("general.alignment", uint32(64)).set("a", []string{"x"}).bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			if file != nil || err.Error() == "" {
				t.Errorf("want an error alone, got %v and %q", file, err)
			}
			return
		}
		elements := 0
		for _, x := range file.Tensors {
			n := 1
			for _, d := range x.Shape {
				n *= d
			}
			elements += n
		}
		if elements > 2*len(data) { // Q4_0 has 32 elements in 18 bytes
			t.Errorf("%d elements in a file of %d bytes", elements, len(data))
		}
		s, err := NewSource(file, nil)
		if err != nil {
			return
		}
		if _, err := s.TokenizerFiles(""); err != nil && err.Error() == "" {
			t.Error("want an error that says something")
		}
		for _, info := range checkpoint.ExpectedTensors(s.Config()) {
			x, err := s.Tensor(info.Name)
			if err != nil && err.Error() == "" {
				t.Error("want an error that says something")
			}
			if err == nil && (!slices.Equal(x.Shape, info.Shape) || len(x.Data) > 8*len(data)) {
				t.Errorf("%s: want %v, got %v of %d bytes", info.Name, info.Shape, x.Shape, len(x.Data))
			}
		}
	})
}
