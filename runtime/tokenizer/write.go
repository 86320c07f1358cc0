package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Regular expressions of a written normalizer, which remove extra spaces as
// SentencePiece does.
const (
	leadingSpaces = `\A +`
	doubleSpaces  = ` {2,}`
	trailingMeta  = meta + `+\z`
)

// WriteJSON writes a tokenizer that was read from llama2.c's tokenizer.bin, or from a
// SentencePiece model of type BPE, as a tokenizer.json that gives the same ids in the
// tokenizers library. The file of WriteSettings belongs beside it. A tokenizer that
// the format cannot express is an error. One thing differs from llama2.c: U+2581 in a
// text counts as a space, as in the SentencePiece models from which its files are made.
func WriteJSON(w io.Writer, t *Tokenizer) error {
	if !t.model.byText || t.model.bytes {
		return errors.New("tokenizer.json: want a tokenizer.bin or a SentencePiece model of type BPE to write it from")
	}
	names, err := t.names()
	if err != nil {
		return fmt.Errorf("tokenizer.json: %w", err)
	}
	merges, ties, err := t.listMerges()
	if err != nil {
		return fmt.Errorf("tokenizer.json: %w", err)
	}
	data, err := t.document(names, merges)
	if err != nil {
		return fmt.Errorf("tokenizer.json: %w", err)
	}
	written, err := Parse(data)
	if err == nil {
		err = t.sameEnds(written)
	}
	if err == nil {
		err = t.sameRuns(written, ties)
	}
	if err != nil {
		return fmt.Errorf("tokenizer.json: %w", err)
	}
	_, err = w.Write(data)
	return err
}

// names lists the spelling of each id in a tokenizer.json; "" = an id without a piece.
func (t *Tokenizer) names() ([]string, error) {
	m := &t.model
	switch p := t.normalizer.piece; {
	case m.unused != nil:
		return nil, errors.New("unused pieces cannot be written")
	case len(m.user.tokens) > 0:
		return nil, fmt.Errorf("user-defined pieces such as %q cannot be written", m.user.tokens[0].text)
	case m.someBytes():
		return nil, errors.New("a vocabulary with some bytes and not others cannot be written")
	case p != nil && !p.escape:
		return nil, errors.New("a normaliser that does not escape white space cannot be written")
	case p != nil && !p.chars.Empty():
		return nil, errors.New("a normaliser with a table of characters cannot be written")
	}
	if _, ok := m.ids[" "]; !ok && t.normalizer.piece == nil && m.raw[' '] >= 0 {
		// In the tokenizer.json a space is U+2581, which would become three bytes.
		return nil, errors.New("a vocabulary in which a space is a byte cannot be written")
	}
	names := make([]string, len(t.pieces))
	for _, a := range t.raw.tokens {
		names[a.id] = a.text
	}
	for text, id := range m.ids {
		if t.normalizer.piece != nil && strings.Contains(text, " ") {
			// Normalised text has no space; spelled with U+2581 the piece would match.
			return nil, fmt.Errorf("piece %d: %q, with a space that no text has, cannot be written", id, clip(text))
		}
		names[id] = escape(text)
		for _, r := range text {
			if _, ok := m.lookup([]byte(string(r))); !ok && !m.strict {
				return nil, fmt.Errorf("piece %d: %q, whose character %q is not a piece, cannot be written", id, clip(text), r)
			}
		}
	}
	for id, c := range t.class {
		if c == byteKind {
			names[id] = fmt.Sprintf("<0x%02X>", t.pieces[id][0])
		}
	}
	seen := make(map[string]int, len(names))
	for id, name := range names {
		if name == "" && t.class[id] != control {
			continue
		}
		if name == "" {
			return nil, fmt.Errorf("piece %d: a control piece without a name of its own cannot be written", id)
		}
		if other, ok := seen[name]; ok {
			return nil, fmt.Errorf("pieces %d and %d are both spelled %q", other, id, clip(name))
		}
		if c := t.class[id]; utf8.RuneCountInString(name) == 1 && (c == control || c == unknown) {
			if _, ok := m.lookup([]byte(name)); !ok {
				return nil, fmt.Errorf("piece %d: %q, which is not text but one character, cannot be written", id, name)
			}
		}
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("piece %d: %q is not UTF-8", id, clip(name))
		}
		seen[name] = id
	}
	return names, nil
}

// ranked is one merge of the list that is written.
type ranked struct {
	rank int32
	a, b int32
	id   int32
}

// listMerges lists all merges in the order in which they are done. A list cannot
// express that pieces of equal rank merge from the left; ties holds these pieces. For
// runs of one character, doubling in the order of the list gives the same ids.
func (t *Tokenizer) listMerges() (merges []ranked, ties []string, err error) {
	m := &t.model
	count := map[int32]int{}
	for text, id := range m.ids {
		if m.rank[id] < 0 {
			continue
		}
		before := len(merges)
		for cut := range text {
			a, okA := m.ids[text[:cut]]
			b, okB := m.ids[text[cut:]]
			if okA && okB {
				merges = append(merges, ranked{m.rank[id], a, b, id})
			}
		}
		if len(merges) > before {
			count[m.rank[id]]++
		}
	}
	size := func(id int32) int { return len(t.pieces[id]) }
	slices.SortFunc(merges, func(x, y ranked) int {
		halves := func(r ranked) int {
			if r.a == r.b {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(halves(x), halves(y)), cmp.Compare(size(x.id), size(y.id)),
			cmp.Compare(x.id, y.id), cmp.Compare(size(x.a), size(y.a)))
	})
	var last int32 = none
	for _, r := range merges {
		if count[r.rank] < 2 || r.id == last {
			continue
		}
		text := string(t.pieces[r.id])
		_, n := utf8.DecodeRuneInString(text)
		if strings.Repeat(text[:n], len(text)/n) != text {
			return nil, nil, fmt.Errorf("piece %d: %q has the score of other pieces, so the order of their merges cannot be written", r.id, clip(text))
		}
		ties, last = append(ties, text), r.id
	}
	return merges, ties, nil
}

// sameEnds checks that the written tokenizer, with its settings, has the same BOS and
// EOS: where there are none a reader goes by the usual names.
func (t *Tokenizer) sameEnds(written *Tokenizer) error {
	var settings bytes.Buffer
	if err := WriteSettings(&settings, t, 0); err != nil {
		return err
	}
	if err := written.applyJSON(settings.Bytes()); err != nil {
		return err
	}
	if t.bos != written.bos || !slices.Equal(t.eos, written.eos) {
		return fmt.Errorf("BOS %d and EOS %v cannot be written: by their names they are %d and %v", t.bos, t.eos, written.bos, written.eos)
	}
	return nil
}

// sameRuns checks that the written tokenizer gives the same ids for runs of the
// characters of which tied pieces consist.
func (t *Tokenizer) sameRuns(written *Tokenizer, ties []string) error {
	longest := map[rune]int{}
	for _, text := range ties {
		r, _ := utf8.DecodeRuneInString(text)
		longest[r] = max(longest[r], utf8.RuneCountInString(text))
	}
	for r, n := range longest {
		for k := range 4*n + 1 {
			text := []byte(strings.Repeat(string(r), k))
			want, errWant := t.Encode(text, EncodeOptions{})
			got, errGot := written.Encode(text, EncodeOptions{})
			if err := cmp.Or(errWant, errGot); err != nil {
				return err
			}
			if !slices.Equal(want, got) {
				return fmt.Errorf("pieces of %q have the same score, and a run of %d cannot be written", r, k)
			}
		}
	}
	return nil
}

type object = map[string]any

// document is the tokenizer.json.
func (t *Tokenizer) document(names []string, merges []ranked) ([]byte, error) {
	vocab, added := object{}, []object{}
	for id, name := range names {
		if name == "" {
			continue
		}
		vocab[name] = id
		if t.class[id] == control || t.class[id] == unknown {
			added = append(added, object{"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
		}
	}
	pairs := make([][2]string, len(merges))
	for i, r := range merges {
		pairs[i] = [2]string{names[r.a], names[r.b]}
	}
	prefixed, squeezed := true, false
	if p := t.normalizer.piece; p != nil {
		prefixed, squeezed = p.prefix, p.squeeze
	}
	normalizers := []object{}
	replace := func(kind, from, to string) object {
		return object{"type": "Replace", "pattern": object{kind: from}, "content": to}
	}
	decoders := []object{replace("String", meta, " "), {"type": "ByteFallback"}, {"type": "Fuse"}}
	if squeezed {
		normalizers = append(normalizers, replace("Regex", leadingSpaces, ""), replace("Regex", doubleSpaces, " "))
	}
	if prefixed {
		normalizers = append(normalizers, object{"type": "Prepend", "prepend": meta})
	}
	normalizers = append(normalizers, replace("String", " ", meta))
	if squeezed {
		normalizers = append(normalizers, replace("Regex", trailingMeta, ""))
	}
	if t.strip != stripNone {
		decoders = append(decoders, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	hasBytes := !slices.Contains(t.model.raw[:], none)
	model := object{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
		"fuse_unk": t.model.fuseUnk, "byte_fallback": hasBytes, "ignore_merges": false, "vocab": vocab, "merges": pairs}
	if t.model.unk >= 0 {
		model["unk_token"] = names[t.model.unk]
	}
	var post any
	if t.bos >= 0 {
		bos := object{"SpecialToken": object{"id": names[t.bos], "type_id": 0}}
		a, b := object{"Sequence": object{"id": "A", "type_id": 0}}, object{"Sequence": object{"id": "B", "type_id": 1}}
		post = object{"type": "TemplateProcessing", "single": []object{bos, a}, "pair": []object{bos, a, b},
			"special_tokens": object{names[t.bos]: object{"id": names[t.bos], "ids": []int{t.bos}, "tokens": []string{names[t.bos]}}}}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(object{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added,
		"normalizer": object{"type": "Sequence", "normalizers": normalizers}, "pre_tokenizer": nil, "post_processor": post,
		"decoder": object{"type": "Sequence", "decoders": decoders}, "model": model})
	return out.Bytes(), err
}

// WriteSettings writes the tokenizer_config.json that belongs beside the file of
// WriteJSON. Without it transformers treats the tokenizer as LLaMA's and gives it BOS,
// EOS and unknown tokens by LLaMA's names, or none at all. context is the model's
// context length, in tokens.
func WriteSettings(w io.Writer, t *Tokenizer, context int) error {
	settings := object{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context, "clean_up_tokenization_spaces": false,
		"model_input_names": []string{"input_ids", "attention_mask"}, // or generate() of transformers 4 gets token_type_ids
		"bos_token":         nil, "eos_token": nil, "unk_token": nil}
	for _, a := range t.raw.tokens {
		switch {
		case a.id == t.bos:
			settings["bos_token"] = a.text
		case slices.Contains(t.eos, a.id):
			settings["eos_token"] = a.text
		case a.id == t.model.unk:
			settings["unk_token"] = a.text
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(settings)
}
