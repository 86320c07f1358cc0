package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mop/internal/files"
)

// settings is what the files beside a tokenizer say about it, as transformers 4 reads
// them.
type settings struct {
	Class          string                `json:"tokenizer_class"`
	BOS            tokenName             `json:"bos_token"`
	EOS            tokenName             `json:"eos_token"`
	AddBOS         *bool                 `json:"add_bos_token"`
	AddEOS         *bool                 `json:"add_eos_token"`
	Legacy         *bool                 `json:"legacy"`
	AddPrefixSpace *bool                 `json:"add_prefix_space"`
	Added          map[string]addedEntry `json:"added_tokens_decoder"` // by token id

	// Names of further special tokens: they say which tokens of added_tokens.json are
	// special.
	Unknown    tokenName   `json:"unk_token"`
	Separator  tokenName   `json:"sep_token"`
	Padding    tokenName   `json:"pad_token"`
	Start      tokenName   `json:"cls_token"`
	Mask       tokenName   `json:"mask_token"`
	Additional []tokenName `json:"additional_special_tokens"`
}

// tokenName is the text of a token: a string, or an object that has it as content.
type tokenName string

// UnmarshalJSON reads either form. Any other value is no name.
func (n *tokenName) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		var object struct {
			Content string `json:"content"`
		}
		_ = json.Unmarshal(data, &object)
		text = object.Content
	}
	*n = tokenName(text)
	return nil
}

// isLlama reports whether the class is LLaMA's, whose post-processor follows from
// add_bos_token and add_eos_token alone.
func (s *settings) isLlama() bool {
	return slices.Contains([]string{"LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"}, s.Class)
}

// readSettings reads tokenizer_config.json, special_tokens_map.json and
// added_tokens.json of a directory. None of them has to exist; found reports whether
// one does.
func readSettings(dir string) (s settings, found bool, err error) {
	var names struct {
		settings
		Added map[string]addedEntry `json:"-"`
	}
	legacy := map[string]int{}
	for _, f := range []struct {
		name string
		into any
	}{{"special_tokens_map.json", &names}, {"added_tokens.json", &legacy}, {"tokenizer_config.json", &s}} {
		path := filepath.Join(dir, f.name)
		data, err := files.ReadText(path, maxFile)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = files.CheckLFS(data)
		}
		if err == nil {
			err = files.PlainJSON(json.Unmarshal(data, f.into))
		}
		if err != nil {
			return s, false, fmt.Errorf("%s: %w", path, err)
		}
		found = true
	}
	if s.Added != nil { // then transformers reads neither of the two older files
		return s, found, nil
	}
	if s.BOS == "" {
		s.BOS = names.BOS
	}
	if s.EOS == "" {
		s.EOS = names.EOS
	}
	special := slices.Concat([]tokenName{s.BOS, s.EOS}, s.others(), names.others())
	s.Added = make(map[string]addedEntry, len(legacy))
	for text, id := range legacy {
		s.Added[strconv.Itoa(id)] = addedEntry{Content: text, Special: slices.Contains(special, tokenName(text))}
	}
	if len(s.Added) != len(legacy) {
		return s, false, fmt.Errorf("%s: two tokens have one id", filepath.Join(dir, "added_tokens.json"))
	}
	return s, found, nil
}

func (s *settings) others() []tokenName {
	return append([]tokenName{s.Unknown, s.Separator, s.Padding, s.Start, s.Mask}, s.Additional...)
}

// apply changes a tokenizer by the settings beside its file. model says that the file is
// a SentencePiece model, which transformers converts by legacy and add_prefix_space.
func (t *Tokenizer) apply(s *settings, model bool) error {
	entries := make([]addedEntry, 0, len(s.Added))
	for key, a := range s.Added {
		id, err := strconv.Atoi(key)
		if err != nil || id < 0 {
			return fmt.Errorf("added_tokens_decoder: want token ids as keys, got %q", clip(key))
		}
		a.ID = id
		entries = append(entries, a)
	}
	slices.SortFunc(entries, func(a, b addedEntry) int { return a.ID - b.ID })
	for _, a := range entries {
		if err := t.addBeside(a, len(entries)); err != nil {
			return fmt.Errorf("added token %q with id %d: %w", clip(a.Content), a.ID, err)
		}
	}
	bos, eos := t.idOf(string(s.BOS)), t.idOf(string(s.EOS))
	switch {
	case s.isLlama() || model:
		if bos < 0 {
			bos = t.bos
		}
		if t.bos = none; is(s.AddBOS, true) {
			t.bos = bos
		}
		if t.last = none; is(s.AddEOS, false) {
			t.last = eos
		}
	case t.bosInFile: // by the post-processor, which add_bos_token does not change
	case !is(s.AddBOS, s.Class == ""): // only LLaMA's class adds BOS by itself
		t.bos = none
	case bos >= 0:
		t.bos = bos
	}
	if t.eosInSettings = eos >= 0; t.eosInSettings { // the configuration's EOS comes first
		t.eos = append([]int{eos}, slices.DeleteFunc(t.eos, func(id int) bool { return id == eos })...)
	}
	if model {
		t.convertPrefix(is(s.Legacy, true), is(s.AddPrefixSpace, true))
	}
	return nil
}

// convertPrefix sets where a SentencePiece model puts a space in front: with legacy in
// front of the text and behind each special token, otherwise only in front of the text,
// and never without addPrefixSpace.
func (t *Tokenizer) convertPrefix(legacy, addPrefixSpace bool) {
	p := t.normalizer.piece
	if legacy && addPrefixSpace || !p.prefix || !p.escape {
		return
	}
	p.prefix = false
	if !addPrefixSpace {
		if t.strip == stripPiece {
			t.strip = stripNone
		}
		return
	}
	t.preTokenizers = append([]preTokenizer{metaspace{replacement: meta, prefix: prefixFirst}}, t.preTokenizers...)
}

// addBeside adds a token that a file beside the tokenizer lists, or gives a known one
// the flags that are listed there. Ids may leave a gap of at most spare.
func (t *Tokenizer) addBeside(a addedEntry, spare int) error {
	if a.Content == "" {
		return errors.New("no content")
	}
	if known := t.idOf(a.Content); known >= 0 && known != a.ID {
		return fmt.Errorf("the tokenizer gives it id %d", known)
	}
	if a.ID < len(t.pieces) && t.class[a.ID] != hole && t.idOf(a.Content) < 0 {
		return errors.New("the tokenizer has another piece with that id")
	}
	if a.ID > len(t.pieces)+spare {
		return fmt.Errorf("the tokenizer has %d ids", len(t.pieces))
	}
	for len(t.pieces) <= a.ID {
		t.pieces, t.class = append(t.pieces, nil), append(t.class, hole)
	}
	token := addedToken{a.Content, a.ID, a.Special, a.SingleWord, a.LStrip, a.RStrip}
	for _, set := range []*addedSet{&t.raw, &t.normalized} {
		for i := range set.tokens {
			if set.tokens[i].id == a.ID {
				token.text = set.tokens[i].text
				set.tokens[i] = token
				return nil
			}
		}
	}
	switch t.class[a.ID] {
	case control, unknown: // as the tokenizer's own file says
	default:
		t.pieces[a.ID], t.class[a.ID] = []byte(a.Content), literal
		if a.Special {
			t.class[a.ID] = control
		}
	}
	t.raw.add(token)
	return nil
}

// idOf is the id of the piece or added token with a text, -1 = none.
func (t *Tokenizer) idOf(text string) int {
	if text == "" {
		return none
	}
	for _, set := range []*addedSet{&t.raw, &t.normalized} {
		for _, a := range set.tokens {
			if a.text == text {
				return a.id
			}
		}
	}
	if id, ok := t.model.control[text]; ok {
		return int(id)
	}
	if id, ok := t.model.ids[text]; ok {
		return int(id)
	}
	if b, ok := byteOf(text); ok && t.model.raw[b] >= 0 && !t.model.bytes {
		return int(t.model.raw[b])
	}
	return none
}

// needsModel reports whether transformers converts tokenizer.model again although there
// is a tokenizer.json: it does so for LLaMA's class if add_prefix_space is given.
func (s *settings) needsModel() bool { return s.isLlama() && s.AddPrefixSpace != nil }

// besideModel is the SentencePiece model of a directory, "" = none.
func besideModel(dir string) string {
	path := filepath.Join(dir, "tokenizer.model")
	data, err := files.Read(path, maxFile)
	if err != nil || len(data) == 0 || data[0] != 0x0a || strings.HasPrefix(string(data), "version") {
		return ""
	}
	return path
}

// applyJSON is apply for the text of a tokenizer_config.json beside a tokenizer.json.
func (t *Tokenizer) applyJSON(config []byte) error {
	var s settings
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	return t.apply(&s, false)
}
