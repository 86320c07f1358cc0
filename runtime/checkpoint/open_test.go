package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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
	replace := func(old, replacement string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			p := filepath.Join(dir, indexFile)
			b := read(t, p)
			if !bytes.Contains(b, []byte(old)) {
				t.Fatalf("no %s in %s", old, b)
			}
			write(t, p, bytes.ReplaceAll(b, []byte(old), []byte(replacement)))
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  []string
	}{
		{"another directory", replace("model-00001", "../model-00001"), []string{indexFile, "same directory"}},
		{"a file that is absent", replace("model-00001", "model-00009"), []string{"model-00009"}},
		{"a tensor that no shard holds", func(t *testing.T, dir string) {
			editHeader(t, filepath.Join(dir, "model-00002-of-00002.safetensors"), `"lm_head.weight"`, `"lm_head.Weight"`)
		}, []string{"lm_head.weight: missing"}},
		{"a tensor elsewhere", replace(`"lm_head.weight": "model-00002`, `"lm_head.weight": "model-00001`), []string{"model-00002-of-00002.safetensors: lm_head.weight: want it in model-00001"}},
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

// Indices that list too much or too little, or spell the shards in other ways, name the
// same model.
func TestOpenOtherIndices(t *testing.T) {
	for name, pairs := range map[string][2]string{
		"a tensor that nobody needs": {`"weight_map": {`, `"weight_map": {"x": "model-00001-of-00002.safetensors",`},
		"one too few":                {`"lm_head.weight"`, `"lm_head.Weight"`},
		"dot":                        {`"model-00001`, `"./model-00001`},
		"folder":                     {`"model-00001`, `"weights/model-00001`},
		"no metadata":                {`"metadata"`, `"x"`},
	} {
		dir := save(t, tinyConfig(), 7, SaveOptions{ShardBytes: 700})
		p := filepath.Join(dir, indexFile)
		write(t, p, bytes.ReplaceAll(read(t, p), []byte(pairs[0]), []byte(pairs[1])))
		if name == "folder" {
			if err := os.Mkdir(filepath.Join(dir, "weights"), 0o777); err != nil {
				t.Fatal(err)
			}
			const shard = "model-00001-of-00002.safetensors"
			if err := os.Rename(filepath.Join(dir, shard), filepath.Join(dir, "weights", shard)); err != nil {
				t.Fatal(err)
			}
		}
		if !same(t, open(t, dir), Random(tinyConfig(), 7, F32)) {
			t.Errorf("%s: tensors differ", name)
		}
	}
}

// A file whose tensors are not aligned to their elements gives the same tensors.
func TestOpenUnaligned(t *testing.T) {
	for pad := range 8 {
		dir := save(t, tinyConfig(), 7, SaveOptions{})
		path := filepath.Join(dir, singleFile)
		data := read(t, path)
		n := binary.LittleEndian.Uint64(data)
		out := binary.LittleEndian.AppendUint64(nil, n+uint64(pad))
		out = append(append(append(out, data[8:8+n]...), bytes.Repeat([]byte(" "), pad)...), data[8+n:]...)
		write(t, path, out)
		if !same(t, open(t, dir), Random(tinyConfig(), 7, F32)) {
			t.Errorf("%d bytes of padding: tensors differ", pad)
		}
	}
}

// One tensor of a tied model may be stored under the name of the LM head, and a model
// may be stored without the prefix model.
func TestOpenOtherNames(t *testing.T) {
	tied := tinyConfig()
	tied.Tied = true
	for name, pairs := range map[string][]string{
		"head alone":     {`"model.embed_tokens.weight"`, `"lm_head.weight"`},
		"without prefix": {`"model.`, `"`},
	} {
		dir := save(t, tied, 7, SaveOptions{})
		editHeader(t, filepath.Join(dir, singleFile), pairs...)
		if !same(t, open(t, dir), Random(tied, 7, F32)) {
			t.Errorf("%s: tensors differ", name)
		}
	}
}

// A stored LM head that differs from the embedding table of a tied model gives a
// warning; an equal one does not.
func TestOpenWarnsOfTiedHead(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	for _, differs := range []bool{false, true} {
		var log bytes.Buffer
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		dir := save(t, tinyConfig(), 7, SaveOptions{}) // with a head
		p := filepath.Join(dir, configFile)
		write(t, p, bytes.Replace(read(t, p), []byte(`"tie_word_embeddings": false`), []byte(`"tie_word_embeddings": true`), 1))
		if !differs {
			d := open(t, dir)
			embed, err := d.Tensor(EmbedName)
			if err != nil {
				t.Fatal(err)
			}
			list := storedTensors(t, dir)
			data := read(t, filepath.Join(dir, singleFile))
			at := bytes.Index(data, list[HeadName].Data)
			copy(data[at:], embed.Data)
			d.Close()
			write(t, filepath.Join(dir, singleFile), data)
			log.Reset()
		}
		open(t, dir)
		if got := strings.Contains(log.String(), HeadName); got != differs {
			t.Errorf("differs %v: log %q", differs, log.String())
		}
	}
}

// A directory that is something else is named for what it is.
func TestOpenExplains(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir, weights string)
		want  string
	}{
		"PyTorch": {func(dir, w string) { os.Rename(w, filepath.Join(dir, "pytorch_model.bin")) }, "save the model as safetensors"},
		"adapter": {func(dir, w string) {
			os.Rename(filepath.Join(dir, configFile), filepath.Join(dir, "adapter_config.json"))
		}, "an adapter"},
		"LFS weights": {func(_, w string) { write(t, w, []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")) }, "git lfs pull"},
		"LFS config": {func(dir, _ string) {
			write(t, filepath.Join(dir, configFile), []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))
		}, "git lfs pull"},
		"GPTQ": {func(_, w string) { editHeader(t, w, "0.self_attn.q_proj.weight", "0.self_attn.q_proj.qweight") }, "quantised weights"},
		"MLX": {func(_, w string) {
			editHeader(t, w, `k_proj.weight":{"dtype":"F32","shape":[2,4]`, `k_proj.weight":{"dtype":"U32","shape":[4,2]`)
		}, "quantised weights"},
		"FP8": {func(_, w string) {
			editHeader(t, w, `k_proj.weight":{"dtype":"F32","shape":[2,4]`, `k_proj.weight":{"dtype":"F8_E4M3","shape":[8,4]`)
		}, "quantised weights"},
		"torch.compile": {func(_, w string) { editHeader(t, w, `"model.`, `"_orig_mod.model.`) }, "without the prefix _orig_mod."},
		"bits and bytes": {func(_, w string) {
			editHeader(t, w, `k_proj.weight":{"dtype":"F32","shape":[2,4]`, `k_proj.weight":{"dtype":"U8","shape":[32,1]`)
		}, "quantised weights"},
	} {
		dir := save(t, tinyConfig(), 7, SaveOptions{})
		c.spoil(dir, filepath.Join(dir, singleFile))
		_, err := Open(dir)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		refused(t, err, c.want)
	}
	if _, err := Open("meta-llama/Llama-2-7b-hf"); err == nil || !strings.Contains(err.Error(), "mop downloads nothing") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
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

// A model of 13 GB opens in little memory, without reading its tensors. The files have
// the headers that mop writes, and are otherwise sparse.
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
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if d.Bytes() != 2*6_738_415_616 {
		t.Errorf("%d bytes", d.Bytes())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d shards open in %v", len(shards), took)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("opening allocates %d bytes, want at most 16 MiB", n)
	}
}
