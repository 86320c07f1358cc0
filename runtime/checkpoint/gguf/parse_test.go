package gguf

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
)

func TestParse(t *testing.T) {
	b := newBuilder().set("a", uint32(7)).set("b", "text").set("c", []string{"x", "", "yz"}).set("d", []int32{-1, 2}).set("e", true).set("f", float32(1e-5))
	b.tensor("two", Q4_0, 3, 64).tensor("one", F32, 5)
	f, err := Parse(b.bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Metadata.Keys(); !slices.Equal(got, []string{"a", "b", "c", "d", "e", "f"}) {
		t.Errorf("keys: got %v", got)
	}
	m := &f.Metadata
	if n, ok, err := m.Int("a"); n != 7 || !ok || err != nil {
		t.Errorf("a: got %d, %v, %v", n, ok, err)
	}
	if s, err := m.Text("b"); s != "text" || err != nil {
		t.Errorf("b: got %q, %v", s, err)
	}
	if s, err := m.Texts("c"); !slices.Equal(s, []string{"x", "", "yz"}) || err != nil {
		t.Errorf("c: got %q, %v", s, err)
	}
	if s, err := m.Ints("d"); !slices.Equal(s, []int64{-1, 2}) || err != nil {
		t.Errorf("d: got %v, %v", s, err)
	}
	if x, err := m.Bool("e", false); !x || err != nil {
		t.Errorf("e: got %v, %v", x, err)
	}
	if x, ok, err := m.Float("f"); x != 1e-5 || !ok || err != nil {
		t.Errorf("f: want the shortest decimal 1e-05, got %v, %v, %v", x, ok, err)
	}
	two, ok := f.Tensor("two")
	if !ok || !slices.Equal(two.Shape, []int{3, 64}) || two.RowBytes() != 36 || len(two.Data) != 108 || two.Data[1] != 1 {
		t.Errorf("two: got %+v", two)
	}
	for _, wrong := range []error{
		func() error { _, _, err := m.Int("b"); return err }(),
		func() error { _, err := m.Text("a"); return err }(),
		func() error { _, err := m.Texts("d"); return err }(),
		func() error { _, err := m.Ints("c"); return err }(),
		func() error { _, err := m.Floats("d"); return err }(),
		func() error { _, _, err := m.Float("a"); return err }(),
		func() error { _, err := m.Bool("a", false); return err }(),
	} {
		if wrong == nil || !strings.Contains(wrong.Error(), "want ") {
			t.Errorf("a value of another type: got %v", wrong)
		}
	}
}

// What is wrong with a file is named. A count or a length that it claims makes no
// allocation before the bytes are known to be there.
func TestParseRefused(t *testing.T) {
	huge := uint64(math.MaxUint64)
	whole := model(Q8_0, nil).bytes()
	with := func(change func(b *builder)) []byte {
		b := newBuilder()
		change(b)
		return b.bytes()
	}
	at := func(offset int, v ...byte) []byte {
		b := slices.Clone(whole)
		copy(b[offset:], v)
		return b
	}
	for _, c := range []struct {
		name, says string
		data       []byte
	}{
		{"empty", "truncated", nil},
		{"another magic", `want it to begin with "GGUF"`, at(0, 'g')},
		{"version 1", "GGUF version 1", at(4, 1)},
		{"version 4", "want 2 or 3, got 4", at(4, 4)},
		{"big-endian", "big-endian", at(4, 0, 0, 0, 3)},
		{"tensor count", "tensor count", at(8, 255, 255, 255, 255, 255, 255, 255, 255)},
		{"metadata count", "metadata count", at(16, 255, 255, 255, 255, 255, 255, 255, 255)},
		{"more tensors than there are", "tensor 11 of 65535", at(8, 255, 255)},
		{"length of a key", "truncated", at(24, 255, 255, 255, 255, 255, 255, 255, 255)},
		{"empty key", "key: want", with(func(b *builder) { b.set("", true) })},
		{"key that is no text", "key: want", with(func(b *builder) { b.set("\xff", true) })},
		{"key twice", "k: stands twice", with(func(b *builder) { b.set("k", true).set("k", true) })},
		{"value type", "unknown value type 13", with(func(b *builder) { b.raw("k", uint32(13)) })},
		{"bool of 2", "want 0 or 1, got 2", with(func(b *builder) { b.raw("k", uint32(kindBool), uint8(2)) })},
		{"array of arrays", "arrays of arrays", with(func(b *builder) { b.raw("k", uint32(kindArray), uint32(kindArray), uint64(1)) })},
		{"array type", "unknown value type 99", with(func(b *builder) { b.raw("k", uint32(kindArray), uint32(99), uint64(1)) })},
		{"array length", "truncated", with(func(b *builder) { b.raw("k", uint32(kindArray), uint32(kindUint64), huge/8+1) })},
		{"array of strings", "truncated", with(func(b *builder) { b.raw("k", uint32(kindArray), uint32(kindString), huge) })},
		{"length of a string", "truncated", with(func(b *builder) { b.raw("k", uint32(kindString), huge-7) })},
		{"name twice", "x: stands twice", with(func(b *builder) { b.tensor("x", F32, 1).tensor("x", F32, 1) })},
		{"long name", "name: want", with(func(b *builder) { b.tensor(strings.Repeat("x", 65), F32, 1) })},
		{"no dimensions", "want 1 to 4 dimensions, got 0", with(func(b *builder) { b.info("x", F32, 0) })},
		{"5 dimensions", "want 1 to 4 dimensions, got 5", with(func(b *builder) { b.info("x", F32, 0, 1, 1, 1, 1, 1) })},
		{"a dimension of 0", "dimension 0: want 1 to", with(func(b *builder) { b.info("x", F32, 0, 3, 0) })},
		{"negative dimension", "dimension 1: want 1 to", with(func(b *builder) { b.info("x", F32, 0, -1, 1) })},
		{"product overflows", "x: truncated", with(func(b *builder) { b.info("x", F32, 0, math.MaxInt32, math.MaxInt32, math.MaxInt32, 4) })},
		{"data beyond the end", "x: truncated", with(func(b *builder) { b.info("x", F32, 0, 100).data.WriteByte(0) })},
		{"no data at all", "truncated", with(func(b *builder) { b.info("x", F32, 0, 100) })},
		{"offset", "y: offset: want 32, got 0", with(func(b *builder) { b.tensor("x", F32, 1).info("y", F32, 0, 1) })},
		{"offset at the end of numbers", "x: offset: want 0", with(func(b *builder) { b.info("x", F32, huge-31, 1).data.WriteByte(0) })},
		{"type that is not read", "type IQ4_XS is not supported: want one of BF16, F16", with(func(b *builder) { b.info("x", 23, 0, 256) })},
		{"unknown type", "unknown tensor type 99", with(func(b *builder) { b.info("x", 99, 0, 1) })},
		{"half a block", "rows of Q8_0: want a multiple of 32", with(func(b *builder) { b.info("x", Q8_0, 0, 32, 33) })},
		{"alignment 0", "alignment: want a power of two", with(func(b *builder) { b.set(alignmentKey, uint32(0)) })},
		{"alignment 48", "alignment: want a power of two", with(func(b *builder) { b.set(alignmentKey, uint32(48)) })},
		{"alignment that is a text", "want an integer, got string", with(func(b *builder) { b.set(alignmentKey, "32") })},
		{"shard", "split.count: one of 3 shards", with(func(b *builder) { b.set("split.count", uint32(3)) })},
	} {
		f, err := Parse(c.data)
		if f != nil || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.says, err)
		}
	}
}

// A file that ends anywhere is an error.
func TestTruncated(t *testing.T) {
	b := newBuilder().set("a", []string{"x", "yz"}).set("b", uint32(1)).set("c", []float32{1, 2})
	whole := b.tensor("x", F32, 8).tensor("y", Q4_0, 2, 32).bytes() // y ends with a padding of 28 bytes
	for n := range len(whole) {
		_, err := Parse(whole[:n:n])
		if complete := n >= len(whole)-28; complete != (err == nil) {
			t.Errorf("%d of %d bytes: got %v", n, len(whole), err)
		}
		if err != nil && !errors.Is(err, errTruncated) {
			t.Errorf("%d of %d bytes: got %v", n, len(whole), err)
		}
	}
}

func TestAlignment(t *testing.T) {
	b := newBuilder()
	b.alignment = 256
	b.set(alignmentKey, uint32(256)).tensor("x", F32, 3).tensor("y", F32, 3)
	f, err := Parse(b.bytes())
	if err != nil {
		t.Fatal(err)
	}
	if y, _ := f.Tensor("y"); len(y.Data) != 12 || y.Data[5] != 5 {
		t.Errorf("y: got %v", y.Data)
	}
}

func TestModelRefused(t *testing.T) {
	for name, c := range map[string]struct {
		keys map[string]any
		says string
	}{
		"no architecture":      {map[string]any{"general.architecture": nil}, "general.architecture: missing"},
		"another architecture": {map[string]any{"general.architecture": "qwen3"}, `want llama or deci, got "qwen3"`},
		"experts":              {map[string]any{"llama.expert_count": uint32(8)}, "a mixture of experts is not supported"},
		"a window":             {map[string]any{"llama.attention.sliding_window": uint32(1)}, "a window of 1 within the context"},
		"not causal":           {map[string]any{"llama.attention.causal": false}, "attention to later tokens"},
		"attention factor":     {map[string]any{"llama.rope.scaling.attn_factor": float32(2)}, "attn_factor: want 1, got 2"},
		"logit scale":          {map[string]any{"llama.logit_scale": float32(0.5)}, "llama.logit_scale"},
		"no layers":            {map[string]any{"llama.block_count": nil}, "llama.block_count: missing"},
		"layers huge":          {map[string]any{"llama.block_count": uint32(math.MaxUint32)}, "llama.block_count: want 1 to"},
		"layers many":          {map[string]any{"llama.block_count": uint32(1 << 20)}, "llama.block_count: want at most"},
		"heads of two layers":  {map[string]any{"llama.attention.head_count": []uint32{4, 4}}, "want 1 entries, one for each layer, got 2"},
		"heads negative":       {map[string]any{"llama.attention.head_count": []int32{-4}}, "layer 0: want 0 to"},
		"linear attention":     {map[string]any{"llama.attention.head_count_kv": []uint32{0}}, "a linear layer in place of attention"},
		"odd groups":           {map[string]any{"llama.attention.head_count_kv": uint32(3)}, "kv heads that divide"},
		"value length":         {map[string]any{"llama.attention.value_length": uint32(16)}, "value_length: want the head size 8, got 16"},
		"part of a head":       {map[string]any{"llama.attention.key_length": uint32(8), "llama.rope.dimension_count": uint32(4)}, "dimension_count: want the head size 8"},
		"no epsilon":           {map[string]any{"llama.attention.layer_norm_rms_epsilon": nil}, "layer_norm_rms_epsilon: missing"},
		"epsilon is NaN":       {map[string]any{"llama.attention.layer_norm_rms_epsilon": notANumber}, "want a finite number"},
		"yarn":                 {map[string]any{"llama.rope.scaling.type": "yarn"}, `want none or linear, got "yarn"`},
		"width":                {map[string]any{"llama.embedding_length": uint32(64)}, "token_embd.weight: want [4 64], got [4 32]"},
		"vocabulary":           {map[string]any{"llama.vocab_size": uint32(5)}, "vocab_size: want the 4 rows"},
		"a layer more":         {map[string]any{"llama.block_count": uint32(2)}, "blk.1.attn_norm.weight: missing"},
		"fewer neurons":        {map[string]any{"llama.feed_forward_length": uint32(0)}, "blk.0.ffn_gate.weight: unexpected"},
		"EOS beyond":           {map[string]any{"tokenizer.ggml.eos_token_id": uint32(4)}, "want an id below 4, got 4"},
		"tokenizer":            {map[string]any{"tokenizer.ggml.model": "bert"}, `want llama or gpt2, got "bert"`},
		"token twice":          {map[string]any{"tokenizer.ggml.tokens": []string{"<unk>", "a", "a", "ab"}}, `"a" is token 1 and token 2`},
		"tokens too many":      {map[string]any{"tokenizer.ggml.tokens": []string{"1", "2", "3", "4", "5"}, "tokenizer.ggml.scores": make([]float32, 5), "tokenizer.ggml.token_type": make([]int32, 5)}, "want at most 4"},
		"no scores":            {map[string]any{"tokenizer.ggml.scores": nil}, "scores: missing"},
		"scores of 2":          {map[string]any{"tokenizer.ggml.scores": []float32{1, 2}}, "scores: want 4 entries"},
		"score is NaN":         {map[string]any{"tokenizer.ggml.scores": []float32{0, notANumber, 0, 0}}, "scores: token 1"},
		"token type":           {map[string]any{"tokenizer.ggml.token_type": []int32{2, 1, 7, 1}}, "token_type: token 2: want 0 to 6, got 7"},
		"token type below 0":   {map[string]any{"tokenizer.ggml.token_type": []int32{2, 1, 1, math.MinInt32}}, "token_type: token 3"},
		"widths of 2":          {map[string]any{ownWidths: []int32{1, 2}}, "mop.feed_forward_length: want 1 entries, one for each layer, got 2"},
		"widths beyond":        {map[string]any{ownWidths: []int32{33}}, "mop.feed_forward_length: layer 0: want 0 to 32, got 33"},
		"widths below 0":       {map[string]any{ownWidths: []int32{-1}}, "mop.feed_forward_length: layer 0: want 0 to 32, got -1"},
		"widths as text":       {map[string]any{ownWidths: "1"}, "mop.feed_forward_length: want integers, got string"},
		"heads beyond":         {map[string]any{ownHeads: []uint32{math.MaxUint32}}, "mop.attention.head_count: layer 0: want 0 to 4"},
		"no merges":            {map[string]any{"tokenizer.ggml.model": "gpt2"}, "merges: missing"},
	} {
		f, err := Parse(model(Q8_0, maps.Clone(c.keys)).bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := NewSource(f, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: want an error with %q, got %v", name, c.says, err)
		}
	}
	for name, c := range map[string]struct {
		b    *builder
		says string
	}{
		"bias":    {model(F16, nil).tensor("blk.0.attn_q.bias", F32, 32), "models with biases are not supported"},
		"expert":  {model(F16, nil).tensor("blk.0.ffn_gate_exps.weight", F32, 32), "blk.0.ffn_gate_exps.weight: unexpected, got F32 [32]"},
		"factors": {model(F16, nil).tensor("rope_freqs.weight", F32, 4), "not LLaMA-3's scaling"},
	} {
		f, err := Parse(c.b.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewSource(f, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: want an error with %q, got %v", name, c.says, err)
		}
	}
}

// The pre-tokenizer must be named, by the file or by the caller.
func TestPreTokenizerNames(t *testing.T) {
	for _, c := range []struct{ pre, option, says string }{
		{"", "", `want one of command-r, dbrx`}, {"default", "", `got "default"`}, {"", "llama-bpe", ""}, {"falcon", "smollm", ""}, {"qwen2", "", ""},
	} {
		keys := map[string]any{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": []string{"a b"}}
		if c.pre != "" {
			keys["tokenizer.ggml.pre"] = c.pre
		}
		f, err := Parse(model(F16, keys).bytes())
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSource(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.TokenizerFiles(c.option); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q, %q: want an error with %q, got %v", c.pre, c.option, c.says, err)
		}
	}
}

// Unless a type is asked for, a file's own floats stay, and quantized ones become F16.
func TestUsualDType(t *testing.T) {
	for kind, want := range map[Type]checkpoint.DType{F32: checkpoint.F32, F16: checkpoint.F16, BF16: checkpoint.BF16, Q4_0: checkpoint.F16, Q8_0: checkpoint.F16} {
		f, err := Parse(model(kind, nil).bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got := f.UsualDType(); got != want {
			t.Errorf("%s: want %s, got %s", kind, want, got)
		}
	}
}

// A failed import leaves nothing.
func TestImportRefusesNotFinite(t *testing.T) {
	b := model(F16, nil)
	b.data.Bytes()[b.data.Len()-1] = 0x7c // the last element of ffn_down
	dir := t.TempDir()
	path, out := filepath.Join(dir, "m.gguf"), filepath.Join(dir, "m")
	if err := os.WriteFile(path, b.bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Import(path, out, ImportOptions{})
	if err == nil || !strings.Contains(err.Error(), "blk.0.ffn_down.weight: row 31: element 31 is not finite") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: want nothing there, got %v", out, err)
	}
}
