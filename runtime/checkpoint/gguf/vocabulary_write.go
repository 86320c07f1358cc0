package gguf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mop/internal/files"
	"mop/runtime/config"
	"mop/runtime/tokenizer"
	"mop/runtime/tokenizer/sentencepiece"
)

const maxTokenizerFile = 256 << 20 // bytes

// ErrTokenizer means that llama.cpp would not tokenize texts as the model's own
// tokenizer does.
var ErrTokenizer = errors.New("llama.cpp cannot tokenize as this tokenizer does")

// readVocabulary turns the tokenizer of a directory into that of a file; nil for "". A
// tokenizer that llama.cpp cannot imitate is an error that wraps ErrTokenizer. What
// differs only for special tokens in a text, or for a space in front, is noted.
func readVocabulary(dir string, c *config.Config) (*vocabulary, error) {
	if dir == "" {
		return nil, nil
	}
	t, err := tokenizer.Open(dir)
	if err != nil {
		return nil, err
	}
	v, err := newVocabulary(t, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.File(), err)
	}
	if err := v.readBeside(dir); err != nil {
		return nil, err
	}
	return v, nil
}

// newVocabulary makes the vocabulary of a file from a tokenizer that was opened.
func newVocabulary(t *tokenizer.Tokenizer, c *config.Config) (*vocabulary, error) {
	if n := t.Vocab(); n > c.VocabSize {
		return nil, fmt.Errorf("%d tokens, but the model's embedding has only %d rows", n, c.VocabSize)
	}
	read := files.Read
	if filepath.Ext(t.File()) == ".json" {
		read = files.ReadText
	}
	data, err := read(t.File(), maxTokenizerFile)
	if err != nil {
		return nil, err
	}
	v := &vocabulary{texts: make([]string, c.VocabSize), types: make([]int64, c.VocabSize), bos: t.BOS(), eos: -1, unknown: -1, padding: -1}
	v.addBOS, v.addEOS = v.bos >= 0, t.AddsEOS()
	if v.bos < 0 {
		v.bos = c.BOS
	}
	v.ends = endsOf(t, c)
	switch first := bytes.TrimLeft(data, " \t\r\n"); {
	case len(first) > 0 && first[0] == '{':
		err = v.fromJSON(data, t)
	case data[0] == 0x0a && isSentencePiece(data):
		err = v.fromSentencePiece(data, t)
	case isTiktoken(data):
		err = v.fromTiktoken(data, t)
	default: // llama2.c's tokenizer.bin
		var text bytes.Buffer
		if err = tokenizer.WriteJSON(&text, t); err == nil {
			err = v.fromJSON(text.Bytes(), t)
		}
	}
	if err != nil {
		return nil, err
	}
	v.fillHoles()
	return v, nil
}

// isTiktoken reports whether a tokenizer file that was read is text: base64 and ranks.
func isTiktoken(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), 1024)], []byte("\n"))
	return len(bytes.Fields(line)) == 2 && utf8.Valid(line) && !bytes.ContainsFunc(line, unicode.IsControl)
}

func isSentencePiece(data []byte) bool {
	_, err := sentencepiece.Read(data)
	return err == nil
}

// endsOf lists the tokens that end a text, those of the config first.
func endsOf(t *tokenizer.Tokenizer, c *config.Config) []int {
	var out []int
	for _, id := range slices.Concat(c.EOS, t.EOS()) {
		if id < c.VocabSize && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// fillHoles gives the ids without a token the names that llama.cpp's converter uses.
func (v *vocabulary) fillHoles() {
	for id := range v.texts {
		if v.texts[id] == "" {
			v.texts[id], v.types[id] = fmt.Sprintf("[PAD%d]", id), tokenUnused
			if v.scores != nil {
				v.scores[id] = unreachable
			}
		}
	}
}

// document is a tokenizer.json, as far as llama.cpp can imitate it.
type document struct {
	AddedTokens []struct {
		ID      int    `json:"id"`
		Content string `json:"content"`
	} `json:"added_tokens"`
	Normalizer   object `json:"normalizer"`
	PreTokenizer object `json:"pre_tokenizer"`
	Model        struct {
		Type         string          `json:"type"`
		UnkToken     *string         `json:"unk_token"`
		ByteFallback bool            `json:"byte_fallback"`
		IgnoreMerges bool            `json:"ignore_merges"`
		Vocab        json.RawMessage `json:"vocab"`
		Merges       json.RawMessage `json:"merges"`

		vocab  map[string]int
		merges [][2]string
	} `json:"model"`
}

func parseDocument(data []byte) (*document, error) {
	d := &document{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, err
	}
	m := &d.Model
	if m.Type == "Unigram" {
		return nil, fmt.Errorf("%w: a unigram model, which this export does not write", ErrTokenizer)
	}
	if err := json.Unmarshal(m.Vocab, &m.vocab); err != nil {
		return nil, err
	}
	if json.Unmarshal(m.Merges, &m.merges) == nil {
		return d, nil
	}
	var lines []string
	if err := json.Unmarshal(m.Merges, &lines); err != nil {
		return nil, err
	}
	m.merges = nil
	for i, line := range lines {
		if strings.HasPrefix(line, "#version") {
			continue
		}
		a, b, err := splitMerge(line)
		if err != nil {
			return nil, fmt.Errorf("merge %d: %w, got %q", i, err, clip(line))
		}
		m.merges = append(m.merges, [2]string{a, b})
	}
	return d, nil
}

// fromJSON fills in a tokenizer.json: byte-level BPE becomes gpt2, SentencePiece's
// BPE llama.
func (v *vocabulary) fromJSON(data []byte, t *tokenizer.Tokenizer) error {
	d, err := parseDocument(data)
	if err != nil {
		return err
	}
	for text, id := range d.Model.vocab {
		v.texts[id], v.types[id] = text, tokenNormal
	}
	for _, a := range d.AddedTokens {
		v.texts[a.ID] = a.Content
	}
	if err := v.addTokens(t); err != nil {
		return err
	}
	if d.Model.UnkToken != nil {
		v.unknown = d.Model.vocab[*d.Model.UnkToken]
	}
	if steps := flatten(d.PreTokenizer); len(steps) > 0 && slices.ContainsFunc(steps, func(s object) bool { return s["type"] == "ByteLevel" }) {
		return v.fromByteLevel(d, steps)
	}
	return v.fromMerges(d)
}

// addTokens fills in the added tokens and their types. llama.cpp finds them in a text
// as they are: special ones on request, others always.
func (v *vocabulary) addTokens(t *tokenizer.Tokenizer) error {
	for _, a := range t.Added() {
		if v.texts[a.ID] == "" {
			v.texts[a.ID] = a.Text
		}
		v.types[a.ID] = tokenUser
		if a.Special {
			v.types[a.ID] = tokenControl
		}
		switch strips := a.LStrip || a.RStrip || a.SingleWord; {
		case strips && a.Special:
			v.note("the token %q takes no white space with it in llama.cpp", v.texts[a.ID])
		case strips:
			return fmt.Errorf("%w: the added token %q depends on the characters beside it", ErrTokenizer, v.texts[a.ID])
		case a.Normalized && !a.Special && a.Text != v.texts[a.ID]:
			return fmt.Errorf("%w: the added token %q is looked for in normalised text", ErrTokenizer, v.texts[a.ID])
		}
	}
	return nil
}

func (v *vocabulary) note(format string, args ...any) {
	v.notes = append(v.notes, fmt.Sprintf(format, args...))
}

// fromByteLevel completes a byte-level BPE, whose pre-tokenizer llama.cpp knows by a
// name.
func (v *vocabulary) fromByteLevel(d *document, steps []object) error {
	v.model = "gpt2"
	for _, s := range flatten(d.Normalizer) {
		if s["type"] != "NFC" {
			return fmt.Errorf("%w: the normalizer %v", ErrTokenizer, s["type"])
		}
		v.note("llama.cpp does not normalise texts to NFC, as this tokenizer does")
	}
	if v.pre = preTokenizerName(steps, d.Model.IgnoreMerges); v.pre == "" {
		return fmt.Errorf("%w: its pre-tokenizer is none of %s", ErrTokenizer, strings.Join(slices.Sorted(maps.Keys(preTokenizers)), ", "))
	}
	v.merges = make([]string, len(d.Model.merges))
	for i, m := range d.Model.merges {
		if strings.Contains(m[0], " ") || strings.Contains(m[1], " ") {
			return fmt.Errorf("%w: merge %d has a space: %q", ErrTokenizer, i, m)
		}
		v.merges[i] = m[0] + " " + m[1]
	}
	return nil
}

// flatten lists the steps of a component of a tokenizer.json, which may be a sequence.
func flatten(c object) []object {
	if c == nil {
		return nil
	}
	if c["type"] != "Sequence" {
		return []object{c}
	}
	var out []object
	for _, key := range []string{"normalizers", "pretokenizers"} {
		list, _ := c[key].([]any)
		for _, s := range list {
			if o, ok := s.(object); ok {
				out = append(out, flatten(o)...)
			}
		}
	}
	return out
}

// preTokenizerName is llama.cpp's name of the steps; "" = it has none.
func preTokenizerName(steps []object, ignoreMerges bool) string {
	want := canonical(steps)
	for _, name := range slices.Concat(usualNames, slices.Sorted(maps.Keys(preTokenizers))) {
		if p := preTokenizers[name]; p.ignoreMerges == ignoreMerges && canonical(p.steps) == want {
			return name
		}
	}
	return ""
}

// usualNames are preferred to other names of the same steps.
var usualNames = []string{"llama-bpe", "smollm", "gpt-2", "qwen2", "tekken"}

// canonical is a text that two lists of steps share if they cut alike. What a step
// leaves out has the default of the tokenizers library; offsets do not matter.
func canonical(steps []object) string {
	var out []object
	for _, s := range steps {
		s = maps.Clone(s)
		delete(s, "trim_offsets")
		defaults := map[string]object{
			"ByteLevel": {"add_prefix_space": true, "use_regex": true},
			"Digits":    {"individual_digits": false},
			"Split":     {"invert": false},
		}
		kind, _ := s["type"].(string)
		for key, usual := range defaults[kind] {
			if _, ok := s[key]; !ok {
				s[key] = usual
			}
		}
		out = append(out, s)
	}
	text, err := json.Marshal(out)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// readBeside reads the chat template and the padding token, which stand beside the
// tokenizer.
func (v *vocabulary) readBeside(dir string) error {
	var settings struct {
		ChatTemplate json.RawMessage `json:"chat_template"`
		Padding      any             `json:"pad_token"`
	}
	data, err := files.ReadText(filepath.Join(dir, "tokenizer_config.json"), maxTokenizerFile)
	if err == nil {
		err = json.Unmarshal(data, &settings)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", filepath.Join(dir, "tokenizer_config.json"), err)
	}
	text := settings.Padding
	if o, ok := text.(object); ok {
		text = o["content"]
	}
	if s, ok := text.(string); ok {
		v.padding = slices.Index(v.texts, s)
	}
	template, err := files.ReadText(filepath.Join(dir, "chat_template.jinja"), maxTokenizerFile)
	if !errors.Is(err, os.ErrNotExist) {
		v.chatTemplate = string(template)
		return err
	}
	if len(settings.ChatTemplate) == 0 || json.Unmarshal(settings.ChatTemplate, &v.chatTemplate) == nil {
		return nil
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(settings.ChatTemplate, &list); err != nil {
		return fmt.Errorf("%s: chat_template: want a text, or a list of names and templates", filepath.Join(dir, "tokenizer_config.json"))
	}
	for _, t := range list {
		if t.Name == "default" || v.chatTemplate == "" {
			v.chatTemplate = t.Template
		}
	}
	return nil
}

// pairs are the metadata of the tokenizer. Without one, llama.cpp can still measure the
// speed of a model.
func (v *vocabulary) pairs(c *config.Config) []pair {
	key := func(k string, value any) pair { return pair{tokenizerKey + k, value} }
	if v == nil { // the tokens that begin and end a text belong to the model, too
		v := &vocabulary{bos: c.BOS, ends: c.EOS, unknown: -1, padding: -1}
		return append([]pair{key("model", "no_vocab")}, v.special(c)...)
	}
	kinds := make([]int32, len(v.types))
	for i, k := range v.types {
		kinds[i] = int32(k)
	}
	pre := v.pre
	if pre == "" {
		pre = "default"
	}
	out := []pair{key("model", v.model), key("pre", pre), key("tokens", v.texts)}
	if v.scores != nil {
		out = append(out, key("scores", v.scores))
	}
	out = append(out, key("token_type", kinds))
	if v.model == "gpt2" {
		out = append(out, key("merges", v.merges))
	}
	out = append(out, v.special(c)...)
	out = append(out, key("add_bos_token", v.addBOS), key("add_eos_token", v.addEOS), key("add_space_prefix", v.addSpace))
	if v.chatTemplate != "" {
		out = append(out, pair{"tokenizer.chat_template", v.chatTemplate})
	}
	return out
}

// special names the tokens with a meaning.
func (v *vocabulary) special(c *config.Config) []pair {
	var out []pair
	for _, t := range []struct {
		key string
		id  int
	}{{"bos_token_id", v.bos}, {"eos_token_id", v.end(0)}, {"eot_token_id", v.end(1)}, {"eom_token_id", v.end(2)}, {"unknown_token_id", v.unknown}, {"padding_token_id", v.padding}} {
		if t.id >= 0 && t.id < c.VocabSize {
			out = append(out, pair{tokenizerKey + t.key, uint32(t.id)})
		}
	}
	return out
}

// end is the i-th token that ends a text, -1 where there are fewer.
func (v *vocabulary) end(i int) int {
	if i < len(v.ends) {
		return v.ends[i]
	}
	return -1
}
