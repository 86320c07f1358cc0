package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// besideFiles makes a directory with a tokenizer of testdata and other files.
func besideFiles(t testing.TB, tokenizer string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tokenizer"+filepath.Ext(tokenizer)), testFile(t, tokenizer), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// With other files beside a tokenizer the ids are those of transformers' AutoTokenizer:
// see testdata/settings.py.
func TestSettingsOfTransformers(t *testing.T) {
	data, err := os.ReadFile("testdata/settings.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Texts []string
		Cases []struct {
			File     string
			Files    map[string]json.RawMessage
			Post     json.RawMessage `json:"post_processor"`
			IDs      [][]int
			BOS, EOS int
		}
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	for _, c := range g.Cases {
		files := map[string]string{}
		for name, text := range c.Files {
			files[name] = string(text)
		}
		dir := besideFiles(t, c.File, files)
		if c.Post != nil {
			path := filepath.Join(dir, "tokenizer.json")
			keys := map[string]json.RawMessage{}
			data, err := os.ReadFile(path)
			if err == nil {
				err = json.Unmarshal(data, &keys)
			}
			if err != nil {
				t.Fatal(err)
			}
			keys["post_processor"] = c.Post
			if data, err = json.Marshal(keys); err == nil {
				err = os.WriteFile(path, data, 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		tok, err := Open(dir)
		if err != nil {
			t.Errorf("%s with %s: %v", c.File, c.Files, err)
			continue
		}
		if len(tok.EOS()) == 0 || tok.EOS()[0] != c.EOS || tok.BOS() >= 0 && tok.BOS() != c.BOS {
			t.Errorf("%s with %s: want BOS %d and EOS %d, got %d and %v", c.File, c.Files, c.BOS, c.EOS, tok.BOS(), tok.EOS())
		}
		for i, want := range c.IDs {
			got, err := tok.Encode([]byte(g.Texts[i]), EncodeOptions{BOS: true, EOS: true, Special: true})
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s with %s: %q:\nwant %v\ngot  %v, %v", c.File, c.Files, g.Texts[i], want, got, err)
			}
		}
	}
	if len(g.Cases) < 40 {
		t.Errorf("want 40 cases at least, got %d", len(g.Cases))
	}
}

// added_tokens.json lists tokens without flags. Those that special_tokens_map.json names
// are special. transformers' slow tokenizer gives these ids.
func TestAddedTokensFile(t *testing.T) {
	dir := besideFiles(t, "fallback.model", map[string]string{
		"added_tokens.json":       `{"<|im_start|>": 420, "<|im_end|>": 421}`,
		"special_tokens_map.json": `{"bos_token":"<s>","eos_token":{"content":"<|im_end|>"},"unk_token":"<unk>"}`,
		"tokenizer_config.json":   `{"tokenizer_class":"LlamaTokenizer"}`,
	})
	tok, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := tok.Encode([]byte("<|im_start|>a<|im_end|>"), EncodeOptions{BOS: true, Special: true})
	if err != nil || len(ids) < 4 || ids[0] != 1 || ids[1] != 420 || ids[len(ids)-1] != 421 {
		t.Errorf("got %v, %v", ids, err)
	}
	if text, err := tok.Decode([]int{420, 421}); err != nil || string(text) != "<|im_start|>" {
		t.Errorf("want the text of the token that is not special, got %q, %v", text, err)
	}
	if !slices.Equal(tok.EOS(), []int{421, 2}) || tok.Vocab() != 422 {
		t.Errorf("EOS %v, %d ids", tok.EOS(), tok.Vocab())
	}
}

func TestSettingsRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"not JSON":         {"tokenizer_config.json", `{`, "tokenizer_config.json"},
		"an LFS pointer":   {"tokenizer_config.json", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
		"another id":       {"added_tokens.json", `{"<s>": 7}`, "the tokenizer gives it id 1"},
		"another piece":    {"added_tokens.json", `{"<new>": 300}`, "another piece with that id"},
		"a large id":       {"added_tokens.json", `{"<new>": 100000}`, "the tokenizer has 420 ids"},
		"two with one id":  {"added_tokens.json", `{"<new>": 420, "<other>": 420}`, "one id"},
		"a key without id": {"tokenizer_config.json", `{"added_tokens_decoder":{"x":{"content":"y"}}}`, "token ids as keys"},
		"no text":          {"tokenizer_config.json", `{"added_tokens_decoder":{"420":{}}}`, "no content"},
	} {
		_, err := Open(besideFiles(t, "fallback.model", map[string]string{c.file: c.text}))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want an error with %q, got %v", name, c.want, err)
		}
	}
}

// What is not a tokenizer is named for what it is.
func TestOpenExplains(t *testing.T) {
	dir := t.TempDir()
	gguf := filepath.Join(dir, "model.gguf")
	if err := os.WriteFile(gguf, []byte("GGUF\x03\x00\x00\x00"), 0o666); err != nil {
		t.Fatal(err)
	}
	pointer := filepath.Join(t.TempDir(), "tokenizer.model")
	if err := os.WriteFile(pointer, []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		gguf: "mop import gguf", dir: "GGUF file", "org/name": "mop downloads nothing", filepath.Dir(pointer): "git lfs pull", filepath.Join(dir, "none", "at", "all"): "no such directory",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", path, want, err)
		}
	}
}

// Whether a text gets BOS, as transformers 4.57.6 answers for tokenizer.json files with
// and without a post-processor, by tokenizer_class and add_bos_token. Where it ignores an
// add_bos_token that is true, BOS is added here, since the file asks for it.
func TestBOSOfPostProcessor(t *testing.T) {
	const template = `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}}`
	for _, c := range []struct {
		class, post, add string
		want             bool
	}{
		{"PreTrainedTokenizerFast", "null", "", false}, {"PreTrainedTokenizerFast", "null", "false", false}, {"PreTrainedTokenizerFast", template, "", true},
		{"PreTrainedTokenizerFast", template, "false", true}, {"PreTrainedTokenizerFast", `{"type":"ByteLevel"}`, "", false}, {"GPT2TokenizerFast", "null", "", false},
		{"GPT2TokenizerFast", template, "", true}, {"LlamaTokenizerFast", "null", "", true}, {"LlamaTokenizerFast", "null", "false", false}, {"LlamaTokenizerFast", template, "false", false},
		{"LlamaTokenizer", `{"type":"ByteLevel"}`, "", true}, {"LlamaTokenizer", template, "true", true}, {"", "null", "", true}, {"", "null", "false", false},
		{"PreTrainedTokenizerFast", "null", "true", true},
	} {
		dir := t.TempDir()
		config := map[string]any{"bos_token": "<s>"}
		if c.class != "" {
			config["tokenizer_class"] = c.class
		}
		if c.add != "" {
			config["add_bos_token"] = c.add == "true"
		}
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string]string{
			"tokenizer_config.json": string(text),
			"tokenizer.json":        `{"added_tokens":[{"id":1,"content":"<s>","special":true}],"post_processor":` + c.post + `,"model":{"type":"BPE","vocab":{"a":0,"<s>":1},"merges":[]}}`,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		tok, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.BOS() == 1; got != c.want {
			t.Errorf("%s, post_processor %s, add_bos_token %q: want BOS %v, got %v", c.class, clip(c.post), c.add, c.want, got)
		}
	}
}
