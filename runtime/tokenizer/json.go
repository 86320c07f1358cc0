package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mop/runtime/config"
)

// file is a Hugging Face tokenizer.json, as far as it decides ids.
type file struct {
	AddedTokens []struct {
		ID         int    `json:"id"`
		Content    string `json:"content"`
		Special    bool   `json:"special"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		SingleWord bool   `json:"single_word"`
	} `json:"added_tokens"`
	Normalizer    *part           `json:"normalizer"`
	PreTokenizer  *part           `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Model         struct {
		Type         string            `json:"type"`
		UnkToken     *string           `json:"unk_token"`
		FuseUnk      bool              `json:"fuse_unk"`
		ByteFallback bool              `json:"byte_fallback"`
		IgnoreMerges bool              `json:"ignore_merges"`
		Dropout      *float64          `json:"dropout"`
		Prefix       *string           `json:"continuing_subword_prefix"`
		Suffix       *string           `json:"end_of_word_suffix"`
		Vocab        map[string]int    `json:"vocab"`
		Merges       []json.RawMessage `json:"merges"`
	} `json:"model"`
}

// part is a normalizer or a pre-tokenizer.
type part struct {
	Type           string `json:"type"`
	Normalizers    []part `json:"normalizers"`
	Pretokenizers  []part `json:"pretokenizers"`
	Prepend        string `json:"prepend"`
	Content        string `json:"content"`
	Replacement    string `json:"replacement"`
	PrependScheme  string `json:"prepend_scheme"`
	AddPrefixSpace *bool  `json:"add_prefix_space"`
	Split          *bool  `json:"split"`
	UseRegex       *bool  `json:"use_regex"`
	Behavior       string `json:"behavior"`
	Invert         bool   `json:"invert"`
	Pattern        struct {
		String string
		Regex  string
	} `json:"pattern"`
}

// parseJSON reads a tokenizer.json; its size bounds the ids.
func parseJSON(data []byte) (*Tokenizer, error) {
	if err := config.CheckJSON(data); err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	m := &f.Model
	if m.Type != "BPE" && m.Type != "" {
		return nil, fmt.Errorf("model: want type BPE, got %q", m.Type)
	}
	if m.Dropout != nil && *m.Dropout != 0 || m.Prefix != nil && *m.Prefix != "" || m.Suffix != nil && *m.Suffix != "" {
		return nil, errors.New("model: dropout, continuing_subword_prefix and end_of_word_suffix are not supported")
	}
	n := len(m.Vocab)
	for _, a := range f.AddedTokens {
		n = max(n, a.ID+1)
	}
	if n == 0 || n > len(data) {
		return nil, fmt.Errorf("model: %d ids in a file of %d bytes", n, len(data))
	}
	t := newTokenizer(n)
	t.fuseUnk, t.whole = m.FuseUnk, m.IgnoreMerges
	if err := t.pipeline(&f); err != nil {
		return nil, err
	}
	special := map[int]bool{}
	for _, a := range f.AddedTokens {
		if a.ID < 0 || a.Content == "" {
			return nil, fmt.Errorf("added token %q: id %d", a.Content, a.ID)
		}
		if a.LStrip || a.RStrip || a.SingleWord {
			return nil, fmt.Errorf("added token %q: lstrip, rstrip and single_word are not supported", a.Content)
		}
		special[a.ID] = true
		t.added = append(t.added, addedToken{[]byte(a.Content), a.ID, a.Special})
		t.pieces[a.ID], t.class[a.ID] = []byte(a.Content), literal
		if a.Special {
			t.class[a.ID] = control
		}
		t.named(a.Content, a.ID)
	}
	taken := map[int]string{}
	for text, id := range m.Vocab {
		if id < 0 || id >= n {
			return nil, fmt.Errorf("vocab: %q: id %d of %d", text, id, n)
		}
		if other, ok := taken[id]; ok {
			return nil, fmt.Errorf("vocab: %q and %q have the same id %d", min(text, other), max(text, other), id)
		}
		taken[id] = text
		if special[id] {
			continue
		}
		if err := t.addVocab(id, text, m.ByteFallback); err != nil {
			return nil, err
		}
	}
	if m.UnkToken != nil {
		id, ok := m.Vocab[*m.UnkToken]
		if !ok {
			return nil, fmt.Errorf("unk_token %q is not in the vocabulary", *m.UnkToken)
		}
		t.unk = id
	}
	for rank, raw := range m.Merges {
		a, b, err := mergeOf(raw)
		if err != nil {
			return nil, fmt.Errorf("merge %d: %w", rank, err)
		}
		ia, okA := m.Vocab[a]
		ib, okB := m.Vocab[b]
		id, ok := m.Vocab[a+b]
		if !okA || !okB || !ok {
			return nil, fmt.Errorf("merge %d: %q + %q: not in the vocabulary", rank, a, b)
		}
		p := pair{int32(ia), int32(ib)}
		if _, twice := t.merges[p]; !twice {
			t.merges[p] = merge{int32(rank), int32(id)}
		}
	}
	return t, nil
}

// named notes the ids that begin and end texts, by their usual names.
func (t *Tokenizer) named(text string, id int) {
	switch text {
	case "<s>", "<|begin_of_text|>":
		t.bos = id
	case "</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>":
		t.eos = append(t.eos, id)
	}
}

// addVocab adds a piece as tokenizer.json spells it.
func (t *Tokenizer) addVocab(id int, text string, fallback bool) error {
	if !t.byteLevel {
		asByte := -1
		if !fallback {
			asByte = -2 // <0xNN> is text
		}
		if asByte == -2 {
			t.pieces[id] = []byte(strings.ReplaceAll(text, "▁", " "))
			t.ids[string(t.pieces[id])] = id
			return nil
		}
		return t.characterPiece(id, strings.ReplaceAll(text, "▁", " "), false, -1)
	}
	var p []byte
	for _, r := range text {
		b, ok := byteOfRune(r)
		if !ok {
			return fmt.Errorf("vocab: %q: %q does not stand for a byte", text, r)
		}
		p = append(p, b)
	}
	t.pieces[id] = p
	t.ids[string(p)] = id
	if len(p) == 1 {
		t.raw[p[0]] = id
	}
	return nil
}

// byteOfRune undoes byte-level BPE's spelling of bytes as printable characters:
// printable Latin-1 stands for itself, the other 68 bytes, in order, for U+0100
// and on.
func byteOfRune(r rune) (byte, bool) {
	printable := func(b int) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae && b <= 0xff }
	if r < 0x100 {
		return byte(r), printable(int(r))
	}
	at := rune(0x100)
	for b := range 256 {
		if !printable(b) {
			if at == r {
				return byte(b), true
			}
			at++
		}
	}
	return 0, false
}

// mergeOf reads "a b" or ["a", "b"].
func mergeOf(raw json.RawMessage) (a, b string, err error) {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		if len(list) != 2 {
			return "", "", fmt.Errorf("want two pieces, got %d", len(list))
		}
		return list[0], list[1], nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", "", err
	}
	a, b, ok := strings.Cut(s, " ")
	if !ok || strings.Contains(b, " ") {
		return "", "", fmt.Errorf("want two pieces, got %q", s)
	}
	return a, b, nil
}

// pipeline understands the normalizer and the pre-tokenizer, or refuses them.
func (t *Tokenizer) pipeline(f *file) error {
	escaped := false
	for _, p := range flat(f.Normalizer) {
		switch {
		case p.Type == "Prepend" && p.Prepend == "▁" && !escaped:
			t.prefix = true
		case p.Type == "Replace" && p.Pattern.String == " " && p.Content == "▁":
			escaped = true
		default:
			return fmt.Errorf("normalizer %s: not supported", p.Type)
		}
	}
	for _, p := range flat(f.PreTokenizer) {
		switch {
		case p.Type == "Split" && p.Pattern.Regex == llama3Pattern && p.Behavior == "Isolated" && !p.Invert:
			t.byteLevel = true
		case p.Type == "ByteLevel" && t.byteLevel && p.UseRegex != nil && !*p.UseRegex && (p.AddPrefixSpace == nil || !*p.AddPrefixSpace):
		default:
			return fmt.Errorf("pre_tokenizer %s: not supported in this form", p.Type)
		}
	}
	if t.byteLevel && (escaped || t.prefix) || !t.byteLevel && !escaped {
		return errors.New("want a SentencePiece-style normalizer or LLaMA-3's pre-tokenizer")
	}
	return nil
}

// flat lists the steps of a sequence, or the one step.
func flat(p *part) []part {
	if p == nil {
		return nil
	}
	if p.Type != "Sequence" {
		return []part{*p}
	}
	return append(p.Normalizers, p.Pretokenizers...)
}
