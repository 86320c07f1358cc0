package gguf

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"mop/runtime/config"
)

// Types of a token, as in a SentencePiece model.
const (
	tokenNormal  = 1
	tokenUnknown = 2
	tokenControl = 3
	tokenUser    = 4
	tokenUnused  = 5
	tokenByte    = 6
)

const (
	tokenizerKey  = "tokenizer.ggml."
	maxTokenBytes = 1 << 10 // of a text with scores, whose cuts are all looked up
)

// vocabulary is a file's tokenizer.
type vocabulary struct {
	model  string // llama or gpt2
	pre    string // name of the pre-tokenizer, for gpt2
	texts  []string
	types  []int64
	scores []float32
	merges []string

	bos, eos, unknown, padding int // -1 = none
	addBOS, addEOS, addSpace   bool
	chatTemplate               string

	ends  []int    // to be written: all tokens that end a text, eos first
	notes []string // what llama.cpp does differently
}

// vocabulary reads the tokenizer's keys; nil where the file has none.
func (f *File) vocabulary() (*vocabulary, error) {
	m := &f.Metadata
	v := &vocabulary{}
	var err error
	if v.model, err = m.Text(tokenizerKey + "model"); err != nil {
		return nil, err
	}
	switch v.model {
	case "", "no_vocab", "none":
		return nil, nil
	case "llama", "gpt2":
	default:
		return nil, fmt.Errorf("%smodel: want llama or gpt2, got %q", tokenizerKey, clip(v.model))
	}
	if v.texts, err = m.Texts(tokenizerKey + "tokens"); err != nil {
		return nil, err
	}
	if len(v.texts) == 0 {
		return nil, fmt.Errorf("%stokens: missing", tokenizerKey)
	}
	if v.types, err = m.Ints(tokenizerKey + "token_type"); err != nil {
		return nil, err
	}
	if v.scores, err = m.Floats(tokenizerKey + "scores"); err != nil {
		return nil, err
	}
	if v.merges, err = m.Texts(tokenizerKey + "merges"); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		key string
		n   int
	}{{"token_type", len(v.types)}, {"scores", len(v.scores)}} {
		if list.n != 0 && list.n != len(v.texts) {
			return nil, fmt.Errorf("%s%s: want %d entries, one for each token, got %d", tokenizerKey, list.key, len(v.texts), list.n)
		}
	}
	if err := v.readSettings(m); err != nil {
		return nil, err
	}
	return v, v.check()
}

// readSettings reads the special tokens and how a text is begun and ended. What a file
// leaves out has llama.cpp's defaults.
func (v *vocabulary) readSettings(m *Metadata) error {
	var err error
	if v.pre, err = m.Text(tokenizerKey + "pre"); err != nil {
		return err
	}
	for _, t := range []struct {
		key  string
		into *int
	}{{"bos_token_id", &v.bos}, {"eos_token_id", &v.eos}, {"unknown_token_id", &v.unknown}, {"padding_token_id", &v.padding}} {
		if *t.into, err = tokenID(m, t.key, len(v.texts)); err != nil {
			return err
		}
	}
	byDefault := v.model == "llama"
	if p, ok := preTokenizers[v.pre]; ok && v.model == "gpt2" {
		byDefault = p.bos
	}
	if v.addBOS, err = m.Bool(tokenizerKey+"add_bos_token", byDefault); err != nil {
		return err
	}
	if v.addEOS, err = m.Bool(tokenizerKey+"add_eos_token", false); err != nil {
		return err
	}
	if v.addSpace, err = m.Bool(tokenizerKey+"add_space_prefix", v.model == "llama"); err != nil {
		return err
	}
	v.chatTemplate, err = m.Text("tokenizer.chat_template")
	return err
}

// tokenID reads the id of a special token; -1 where the key is absent, or names no
// token, as padded files do.
func tokenID(m *Metadata, key string, tokens int) (int, error) {
	id, ok, err := m.Int(tokenizerKey + key)
	if err != nil || !ok || id == 1<<32-1 || id == -1 {
		return -1, err
	}
	if id < 0 || id >= int64(tokens) {
		return -1, fmt.Errorf("%s%s: want an id below %d, got %d", tokenizerKey, key, tokens, id)
	}
	return int(id), nil
}

// check holds the tokens' texts to what a tokenizer.json can say.
func (v *vocabulary) check() error {
	seen := make(map[string]int, len(v.texts))
	for id, text := range v.texts {
		if v.padded(id) {
			continue
		}
		if text == "" || !utf8.ValidString(text) {
			return fmt.Errorf("%stokens: token %d: want a text of UTF-8, got %q", tokenizerKey, id, clip(text))
		}
		if v.model == "llama" && len(text) > maxTokenBytes {
			return fmt.Errorf("%stokens: token %d: want at most %d bytes, got %d", tokenizerKey, id, maxTokenBytes, len(text))
		}
		if other, ok := seen[text]; ok {
			return fmt.Errorf("%stokens: %q is token %d and token %d", tokenizerKey, clip(text), other, id)
		}
		seen[text] = id
	}
	if v.model == "llama" && v.scores == nil {
		return fmt.Errorf("%sscores: missing", tokenizerKey)
	}
	for id, k := range v.types {
		if k < 0 || k > tokenByte {
			return fmt.Errorf("%stoken_type: token %d: want 0 to %d, got %d", tokenizerKey, id, tokenByte, k)
		}
	}
	for id, s := range v.scores {
		if s != s {
			return fmt.Errorf("%sscores: token %d: want a number, got %v", tokenizerKey, id, s)
		}
	}
	if v.model == "gpt2" && v.merges == nil {
		return fmt.Errorf("%smerges: missing", tokenizerKey)
	}
	return nil
}

// kind is the type of a token. Without types, the special tokens are control tokens.
func (v *vocabulary) kind(id int) int64 {
	if v.types != nil {
		return v.types[id]
	}
	if id == v.bos || id == v.eos || id == v.padding {
		return tokenControl
	}
	if id == v.unknown {
		return tokenUnknown
	}
	return tokenNormal
}

// padded reports whether an id has no token: converters fill a vocabulary up to the
// rows of the embedding with texts such as [PAD32003].
func (v *vocabulary) padded(id int) bool {
	return v.kind(id) == tokenUnused && v.texts[id] == fmt.Sprintf("[PAD%d]", id)
}

// ends takes BOS and EOS for the config from the file. The EOS are the tokens that
// end a text, a turn or a message, the text's first.
func (f *File) ends(c *config.Config) error {
	for _, key := range []string{"bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id"} {
		id, err := tokenID(&f.Metadata, key, c.VocabSize)
		switch {
		case err != nil:
			return err
		case id < 0 || slices.Contains(c.EOS, id):
		case key == "bos_token_id":
			c.BOS = id
		default:
			c.EOS = append(c.EOS, id)
		}
	}
	v, err := f.vocabulary()
	if err != nil || v == nil {
		return err
	}
	if len(v.texts) > c.VocabSize {
		return fmt.Errorf("%stokens: want at most %d, the rows of token_embd.weight, got %d", tokenizerKey, c.VocabSize, len(v.texts))
	}
	if v.chatTemplate == "" {
		return nil
	}
	for id, text := range v.texts { // as llama.cpp does, which older files count on
		if v.kind(id) == tokenControl && slices.Contains(turnEnds, text) && !slices.Contains(c.EOS, id) {
			c.EOS = append(c.EOS, id)
		}
	}
	return nil
}

// turnEnds are texts of control tokens that end a turn of a chat, or a message.
var turnEnds = []string{"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>", "<EOT>", "</s>"}

var errNoMerge = errors.New("want two tokens with a space between them")

// splitMerge takes a line of merges apart. A token may begin with a space of its own.
func splitMerge(line string) (a, b string, err error) {
	for i := 1; i < len(line); i++ {
		if line[i] == ' ' {
			return line[:i], line[i+1:], nil
		}
	}
	return "", "", errNoMerge
}
