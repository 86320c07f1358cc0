package gguf

import (
	"os"
	"path/filepath"
	"testing"

	"mop/runtime/config"
	"mop/runtime/tokenizer"
)

// Whatever a tokenizer.json says, it becomes a vocabulary with a type for every token, or
// an error.
func FuzzVocabulary(f *testing.F) {
	const spm = `{"added_tokens":[{"id":0,"content":"<s>","special":true}],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},` +
		`"pre_tokenizer":null,"model":{"type":"BPE","byte_fallback":true,"vocab":{"<s>":0,"a":1,"b":2,"ab":3,"▁":4},"merges":[["a","b"]]}}`
	const bytes = `{"added_tokens":[{"id":3,"content":"<x>","special":false}],"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false}]},` +
		`"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`
	f.Add([]byte(spm), "")
	f.Add([]byte(bytes), `{"chat_template":[{"name":"default","template":"x"}],"pad_token":{"content":"<x>"}}`)
	f.Fuzz(func(t *testing.T, data []byte, settings string) {
		dir := t.TempDir()
		for name, text := range map[string][]byte{"tokenizer.json": data, "tokenizer_config.json": []byte(settings)} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		c := &config.Config{VocabSize: 300, BOS: -1, EOS: []int{2}}
		v, err := readVocabulary(dir, c)
		if err != nil {
			if err.Error() == "" {
				t.Error("want an error that says something")
			}
			return
		}
		for id, text := range v.texts {
			if text == "" || v.types[id] < tokenNormal || v.types[id] > tokenByte {
				t.Errorf("token %d: %q of type %d", id, text, v.types[id])
			}
		}
		if len(v.pairs(c)) < 6 || len(modelfile("x.gguf", c, v)) == 0 {
			t.Error("too little was written")
		}
		if _, err := tokenizer.Open(dir); err != nil {
			t.Errorf("a vocabulary of a tokenizer that cannot be read: %v", err)
		}
	})
}
