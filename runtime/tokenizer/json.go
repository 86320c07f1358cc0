package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"mop/internal/files"
	"mop/runtime/config"
)

// file is a tokenizer.json, as far as it decides ids. Its truncation and padding are
// settings of a call and are ignored.
type file struct {
	AddedTokens   []addedEntry `json:"added_tokens"`
	Normalizer    *component   `json:"normalizer"`
	PreTokenizer  *component   `json:"pre_tokenizer"`
	PostProcessor *component   `json:"post_processor"`
	Decoder       *component   `json:"decoder"`
	Model         modelEntry   `json:"model"`
}

type addedEntry struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	Special    bool   `json:"special"`
	Normalized bool   `json:"normalized"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	SingleWord bool   `json:"single_word"`
}

type modelEntry struct {
	Type         string     `json:"type"`
	UnkToken     *string    `json:"unk_token"`
	FuseUnk      bool       `json:"fuse_unk"`
	ByteFallback bool       `json:"byte_fallback"`
	IgnoreMerges bool       `json:"ignore_merges"`
	Dropout      *float64   `json:"dropout"`
	Prefix       *string    `json:"continuing_subword_prefix"`
	Suffix       *string    `json:"end_of_word_suffix"`
	Vocab        vocabulary `json:"vocab"`
	UnkID        *int       `json:"unk_id"`
	Merges       mergeList  `json:"merges"`
}

// vocabulary is a model's pieces: an object from text to id or, for Unigram, a list of
// [text, score].
type vocabulary struct {
	ids    map[string]int32
	scores []float64 // by id; nil for an object
}

// UnmarshalJSON reads either form.
func (v *vocabulary) UnmarshalJSON(data []byte) error {
	if data[0] != '[' {
		return json.Unmarshal(data, &v.ids)
	}
	var list [][]json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return errors.New("vocab: want a list of [text, score]")
	}
	v.ids, v.scores = make(map[string]int32, len(list)), make([]float64, len(list))
	for id, p := range list {
		var text string
		if len(p) != 2 || json.Unmarshal(p[0], &text) != nil || json.Unmarshal(p[1], &v.scores[id]) != nil {
			return fmt.Errorf("vocab: id %d: want [text, score]", id)
		}
		if other, ok := v.ids[text]; ok {
			return fmt.Errorf("vocab: %q has id %d and id %d", clip(text), other, id)
		}
		v.ids[text] = int32(id)
	}
	return nil
}

// parseJSON reads a tokenizer.json of model type BPE or Unigram. What is not supported
// is an error that names it.
func parseJSON(data []byte) (*Tokenizer, error) {
	if err := config.CheckJSON(data); err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, files.PlainJSON(err)
	}
	n := len(f.Model.Vocab.ids)
	for text, id := range f.Model.Vocab.ids {
		if id < 0 || int(id) >= len(data) {
			return nil, fmt.Errorf("vocab: %q: id %d, in a file of %d bytes", clip(text), id, len(data))
		}
		n = max(n, int(id)+1)
	}
	for _, a := range f.AddedTokens {
		if a.ID < 0 || a.ID >= len(data) {
			return nil, fmt.Errorf("added token %q: id %d, in a file of %d bytes", clip(a.Content), a.ID, len(data))
		}
		n = max(n, a.ID+1)
	}
	t := newTokenizer(n)
	if err := t.pipeline(&f); err != nil {
		return nil, err
	}
	if err := t.addVocab(&f); err != nil {
		return nil, err
	}
	if f.Model.Vocab.scores != nil {
		if err := t.addUnigram(&f.Model); err != nil {
			return nil, err
		}
	} else if err := t.addMerges(&f.Model); err != nil {
		return nil, err
	}
	if err := t.addTokens(&f); err != nil {
		return nil, err
	}
	if err := t.template(f.PostProcessor); err != nil {
		return nil, err
	}
	t.model.cutAtSpaces(meta)
	return t, nil
}

// addVocab fills in the model's pieces, as the file spells them.
func (t *Tokenizer) addVocab(f *file) error {
	v := &f.Model
	switch {
	case v.Type != "BPE" && v.Type != "Unigram" && !(v.Type == "" && v.Merges != nil):
		return fmt.Errorf("model: want type BPE or Unigram, got %q", clip(v.Type))
	case (v.Type == "Unigram") != (v.Vocab.scores != nil):
		return errors.New("model: vocab: want an object for BPE, a list of [text, score] for Unigram")
	case v.Type == "Unigram" && t.model.bytes:
		return errors.New("model: Unigram with a byte-level pre-tokenizer: not supported")
	case v.Dropout != nil && *v.Dropout != 0:
		return errors.New("model: dropout: not supported")
	case v.Prefix != nil && *v.Prefix != "":
		return errors.New("model: continuing_subword_prefix: not supported")
	case v.Suffix != nil && *v.Suffix != "":
		return errors.New("model: end_of_word_suffix: not supported")
	case v.ByteFallback && t.model.bytes:
		return errors.New("model: byte_fallback with a byte-level pre-tokenizer: not supported")
	}
	m := &t.model
	m.fuseUnk, m.whole = v.FuseUnk, v.IgnoreMerges
	spelling, err := newSpelling(f.Decoder, m.bytes)
	if err != nil {
		return err
	}
	t.strip = spelling.strip
	for text, id := range v.Vocab.ids {
		if t.class[id] != hole {
			for other, same := range v.Vocab.ids {
				if same == id && other != text {
					return fmt.Errorf("vocab: %q and %q both have id %d", clip(min(text, other)), clip(max(text, other)), id)
				}
			}
		}
		if t.pieces[id], t.class[id], err = spelling.decode(text); err != nil {
			return fmt.Errorf("vocab: id %d: %w", id, err)
		}
		switch bytes, ok := bytesOf(text); {
		case !m.bytes:
			m.ids[text] = id
		case ok:
			m.ids[string(bytes)] = id
		}
	}
	if v.ByteFallback {
		for b := range m.raw {
			if id, ok := v.Vocab.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
				m.raw[b] = id
			}
		}
		if m.someBytes() { // tokenizers puts unknown ids after the bytes that follow them
			return errors.New("model: byte_fallback with some bytes and not others: not supported")
		}
	}
	if v.UnkToken != nil {
		id, ok := v.Vocab.ids[*v.UnkToken]
		if !ok {
			return fmt.Errorf("model: unk_token %q is not in the vocabulary", clip(*v.UnkToken))
		}
		m.unk = int(id)
	}
	return nil
}

// addUnigram fills in the scores of a Unigram model.
func (t *Tokenizer) addUnigram(v *modelEntry) error {
	u := &unigram{scores: v.Vocab.scores, unknown: math.Inf(1)}
	for text, id := range v.Vocab.ids {
		if text == "" {
			return fmt.Errorf("vocab: id %d: no text", id)
		}
		u.pieces.add(text, id)
		u.unknown = min(u.unknown, u.scores[id])
	}
	u.unknown -= unknownPenalty
	if v.UnkID != nil {
		if *v.UnkID < 0 || *v.UnkID >= len(u.scores) {
			return fmt.Errorf("model: unk_id: want 0 to %d, got %d", len(u.scores)-1, *v.UnkID)
		}
		t.model.unk = *v.UnkID
	}
	t.model.fuseUnk = true // what Unigram does, whatever the file says
	t.unigram = u
	return nil
}

// addMerges fills in the model's merges. Of a pair that is listed twice the last one
// counts, as in the tokenizers library.
func (t *Tokenizer) addMerges(v *modelEntry) error {
	t.model.pairs = make(map[pair]merge, len(v.Merges))
	for rank, two := range v.Merges {
		var ids [3]int32
		for i, text := range []string{two[0], two[1], two[0] + two[1]} {
			id, ok := v.Vocab.ids[text]
			if !ok {
				return fmt.Errorf("merge %d: %q + %q: %q is not in the vocabulary", rank, clip(two[0]), clip(two[1]), clip(text))
			}
			ids[i] = id
		}
		t.model.pairs[pair{ids[0], ids[1]}] = merge{int32(rank), ids[2]}
	}
	return nil
}

// addTokens fills in the added tokens. Those that are in the vocabulary keep their id.
func (t *Tokenizer) addTokens(f *file) error {
	spelling, err := newSpelling(f.Decoder, t.model.bytes)
	if err != nil {
		return err
	}
	taken := make(map[int]string, len(f.AddedTokens))
	known := make(map[string]int, len(f.AddedTokens))
	normalized := make(map[int]string, len(f.AddedTokens))
	for _, a := range f.AddedTokens {
		if a.Content == "" {
			return fmt.Errorf("added token with id %d: no content", a.ID)
		}
		if other, ok := known[a.Content]; ok {
			return fmt.Errorf("added token %q has id %d and id %d", clip(a.Content), other, a.ID)
		}
		if other, ok := taken[a.ID]; ok {
			return fmt.Errorf("added tokens %q and %q both have id %d", clip(other), clip(a.Content), a.ID)
		}
		if id, ok := f.Model.Vocab.ids[a.Content]; ok && int(id) != a.ID {
			return fmt.Errorf("added token %q: id %d, in the vocabulary %d", clip(a.Content), a.ID, id)
		} else if !ok && t.class[a.ID] != hole {
			return fmt.Errorf("added token %q: id %d is another's in the vocabulary", clip(a.Content), a.ID)
		}
		known[a.Content], taken[a.ID] = a.ID, a.Content
		text := []byte(a.Content)
		if a.Normalized {
			if text, err = t.normalizer.apply(text); err != nil {
				return fmt.Errorf("added token with id %d: %w", a.ID, err)
			}
		}
		if t.pieces[a.ID], err = spelling.text(string(text)); err != nil {
			return fmt.Errorf("added token with id %d: %w", a.ID, err)
		}
		normalized[a.ID] = string(text)
		t.class[a.ID] = literal
		if a.Special {
			t.class[a.ID] = control
		}
		t.named(a.Content, a.ID)
	}
	// Special tokens come first: of two that are normalised to the same text only the
	// first is found.
	for _, special := range []bool{true, false} {
		for _, a := range f.AddedTokens {
			if a.Special != special {
				continue
			}
			into, text := &t.raw, a.Content
			if a.Normalized {
				into, text = &t.normalized, normalized[a.ID]
			}
			into.add(addedToken{text, a.ID, a.Special, a.SingleWord, a.LStrip, a.RStrip})
		}
	}
	return nil
}

// mergeList is the merges: "a b" or ["a", "b"].
type mergeList [][2]string

// UnmarshalJSON reads either form.
func (l *mergeList) UnmarshalJSON(data []byte) error {
	var lists [][]string
	if json.Unmarshal(data, &lists) == nil {
		for i, two := range lists {
			if len(two) != 2 {
				return fmt.Errorf("merge %d: want two pieces, got %d", i, len(two))
			}
			*l = append(*l, [2]string{two[0], two[1]})
		}
		return nil
	}
	var lines []string
	if json.Unmarshal(data, &lines) != nil {
		return errors.New(`merges: want a list of "a b", or of ["a", "b"]`)
	}
	for i, line := range lines {
		if strings.HasPrefix(line, "#version") {
			continue
		}
		a, b, ok := strings.Cut(line, " ")
		if !ok || strings.Contains(b, " ") {
			return fmt.Errorf("merge %d: want two pieces, got %q", i, clip(line))
		}
		*l = append(*l, [2]string{a, b})
	}
	return nil
}
