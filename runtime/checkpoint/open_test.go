package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mop/runtime/checkpoint/safetensors"
	"mop/runtime/config"
)

func TestOpenSingleAndSharded(t *testing.T) {
	c := tinyConfig()
	for _, limit := range []int64{0, 1, 200} {
		dir := save(t, c, 7, SaveOptions{ShardBytes: limit})
		if _, err := os.Stat(filepath.Join(dir, indexFile)); (err == nil) != (limit > 0) {
			t.Errorf("limit %d: index: %v", limit, err)
		}
		d := open(t, dir)
		if !same(t, d, Random(c, 7, F32)) {
			t.Errorf("limit %d: tensors differ from those written", limit)
		}
		if want := 4 * c.Params(); d.Bytes() != want {
			t.Errorf("limit %d: want %d bytes, got %d", limit, want, d.Bytes())
		}
	}
}

// Hugging Face's cache holds links to files in another directory.
func TestOpenThroughLinks(t *testing.T) {
	dir := save(t, tinyConfig(), 7, SaveOptions{ShardBytes: 200})
	links := t.TempDir()
	for _, name := range entries(t, dir) {
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(links, name)); err != nil {
			t.Skip(err)
		}
	}
	if !same(t, open(t, links), Random(tinyConfig(), 7, F32)) {
		t.Error("tensors differ through links")
	}
}

func TestOpenRefusesMismatch(t *testing.T) {
	const q = "model.layers.0.self_attn.q_proj.weight"
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir, weights string)
		want  []string
	}{
		{"no config", func(t *testing.T, dir, _ string) { os.Remove(filepath.Join(dir, configFile)) }, []string{"config.json"}},
		{"no weights", func(t *testing.T, dir, w string) { os.Remove(w) }, []string{"want model.safetensors or"}},
		{"weights are a directory", func(t *testing.T, dir, w string) { os.Remove(w); os.Mkdir(w, 0o777) }, []string{"regular file"}},
		{"empty", func(t *testing.T, dir, w string) { write(t, w, nil) }, []string{"model.safetensors: ", "truncated"}},
		{"truncated", func(t *testing.T, dir, w string) { b := read(t, w); write(t, w, b[:len(b)-1]) }, []string{"model.safetensors: ", "within"}},
		{"a byte too long", func(t *testing.T, dir, w string) { write(t, w, append(read(t, w), 0)) }, []string{"model.safetensors: want "}},
		{"misnamed", func(t *testing.T, dir, w string) { editHeader(t, w, "0.self_attn.q_proj", "0.self_attn.Q_proj") }, []string{"layer 0: " + q + ": missing, want [4 4]"}},
		{"wrong shape", func(t *testing.T, dir, w string) {
			editHeader(t, w, `k_proj.weight":{"dtype":"F32","shape":[2,4]`, `k_proj.weight":{"dtype":"F32","shape":[4,2]`)
		}, []string{"model.safetensors: layer 0: model.layers.0.self_attn.k_proj.weight: want [2 4], got [4 2]"}},
		{"wrong type", func(t *testing.T, dir, w string) {
			editHeader(t, w, `k_proj.weight":{"dtype":"F32"`, `k_proj.weight":{"dtype":"I32"`)
		}, []string{"model.safetensors: layer 0: model.layers.0.self_attn.k_proj.weight: want F32, F16 or BF16, got I32"}},
		{"a bias", func(t *testing.T, dir, w string) {
			editHeader(t, w, `{"__metadata__"`, `{"model.layers.0.self_attn.q_proj.bias":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"__metadata__"`)
		}, []string{"layer 0: model.layers.0.self_attn.q_proj.bias: unexpected"}},
		{"a layer too many", func(t *testing.T, dir, w string) {
			editHeader(t, w, `{"__metadata__"`, `{"model.layers.2.input_layernorm.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"__metadata__"`)
		}, []string{"layer 2: ", "unexpected"}},
		{"two spellings of one tensor", func(t *testing.T, dir, w string) {
			editHeader(t, w, `{"__metadata__"`, `{"language_model.lm_head.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"__metadata__"`)
		}, []string{"the same tensor as"}},
		{"config of another width", func(t *testing.T, dir, w string) {
			p := filepath.Join(dir, configFile)
			write(t, p, bytes.Replace(read(t, p), []byte(`"vocab_size": 8`), []byte(`"vocab_size": 9`), 1))
		}, []string{"model.safetensors: model.embed_tokens.weight: want [9 4], got [8 4]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := save(t, tinyConfig(), 7, SaveOptions{})
			c.spoil(t, dir, filepath.Join(dir, singleFile))
			_, err := Open(dir)
			refused(t, err, c.want...)
		})
	}
}

func TestOpenRefusesIndex(t *testing.T) {
	replace := func(old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			p := filepath.Join(dir, indexFile)
			b := read(t, p)
			if !bytes.Contains(b, []byte(old)) {
				t.Fatalf("no %s in %s", old, b)
			}
			write(t, p, bytes.ReplaceAll(b, []byte(old), []byte(new)))
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  []string
	}{
		{"another directory", replace("model-00001", "../model-00001"), []string{indexFile, "same directory"}},
		{"a file that is absent", replace("model-00001", "model-00009"), []string{"model-00009"}},
		{"a tensor that is absent", replace(`"weight_map": {`, `"weight_map": {"x": "model-00001-of-00002.safetensors",`), []string{indexFile, "x: missing from model-00001-of-00002.safetensors"}},
		{"a tensor elsewhere", replace(`"lm_head.weight": "model-00002`, `"lm_head.weight": "model-00001`), []string{"model-00002-of-00002.safetensors: lm_head.weight: want it in model-00001"}},
		{"a tensor not listed", replace(`"lm_head.weight"`, `"lm_head.Weight"`), []string{"lm_head.weight: not in " + indexFile}},
		{"a shard cut short", func(t *testing.T, dir string) {
			p := filepath.Join(dir, "model-00002-of-00002.safetensors")
			b := read(t, p)
			write(t, p, b[:len(b)-4])
		}, []string{"model-00002-of-00002.safetensors: ", "within"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := save(t, tinyConfig(), 7, SaveOptions{ShardBytes: 700})
			c.spoil(t, dir)
			_, err := Open(dir)
			refused(t, err, c.want...)
		})
	}
}

// Unused tensors of old exports, tied models and skipped blocks do not matter.
func TestOpenIgnoresUnusedTensors(t *testing.T) {
	for name, extra := range map[string]string{
		"rotary buffer":           "model.layers.0.self_attn.rotary_emb.inv_freq",
		"norm of a skipped block": "model.layers.1.input_layernorm.weight",
		"head of a tied model":    HeadName,
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig()
			c.Tied = true
			dir := save(t, c, 7, SaveOptions{})
			editHeader(t, filepath.Join(dir, singleFile), `{"__metadata__"`, `{"`+extra+`":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"__metadata__"`)
			if !same(t, open(t, dir), Random(c, 7, F32)) {
				t.Error("tensors differ")
			}
		})
	}
}

// A model of 13 GB opens without reading its tensors. The files have the headers that
// mop writes, and are otherwise sparse.
func TestOpenLarge(t *testing.T) {
	c, err := config.Preset("llama-2-7b")
	if err != nil {
		t.Fatal(err)
	}
	var tensors []TensorSpec
	for _, info := range ExpectedTensors(c) {
		tensors = append(tensors, TensorSpec{Name: info.Name, DType: F16, Shape: info.Shape})
	}
	shards := safetensors.Cut(stored(tensors), 0)
	index, err := safetensors.MarshalIndex(shards)
	if err != nil {
		t.Fatal(err)
	}
	text, err := config.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, configFile), text)
	write(t, filepath.Join(dir, indexFile), index)
	for _, s := range shards {
		path := filepath.Join(dir, s.Name)
		write(t, path, s.Header)
		if err := os.Truncate(path, int64(len(s.Header))+s.Bytes); err != nil {
			t.Skip(err) // no room for so large a file, even of holes
		}
	}
	best := time.Hour
	for range 3 {
		start := time.Now()
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
		if d.Bytes() != 2*6_738_415_616 {
			t.Errorf("%d bytes", d.Bytes())
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d shards open in %v", len(shards), best)
	if best > time.Second {
		t.Errorf("want under a second, got %v", best)
	}
}
