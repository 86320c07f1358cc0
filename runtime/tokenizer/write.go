package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

func escape(s string) string   { return strings.ReplaceAll(s, " ", "▁") }
func unescape(s string) string { return strings.ReplaceAll(s, "▁", " ") }

// WriteJSON writes a character tokenizer (llama2.c's or SentencePiece's) as a
// tokenizer.json that Hugging Face's tokenizers reads.
func WriteJSON(w io.Writer, t *Tokenizer) error {
	if t.byteLevel {
		return errors.New("a byte-level tokenizer has its tokenizer.json already")
	}
	type object = map[string]any
	vocab := object{}
	var added []object
	hasBytes := true
	for _, id := range t.raw {
		hasBytes = hasBytes && id >= 0
	}
	text := func(id int) string {
		switch t.class[id] {
		case byteKind:
			return fmt.Sprintf("<0x%02X>", t.pieces[id][0])
		case control:
			return strings.TrimSpace(string(t.pieces[id]))
		}
		return escape(string(t.pieces[id]))
	}
	for id := range t.pieces {
		s := text(id)
		if _, twice := vocab[s]; twice {
			s = fmt.Sprintf("%s#%d", s, id)
		}
		vocab[s] = id
		if t.class[id] == control {
			added = append(added, object{"id": id, "content": s, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
		}
	}
	type ranked struct {
		pair
		merge
	}
	var order []ranked
	for p, m := range t.merges {
		order = append(order, ranked{p, m})
	}
	slices.SortFunc(order, func(x, y ranked) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(x.id, y.id), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	merges := make([][2]string, len(order))
	for i, m := range order {
		merges[i] = [2]string{text(int(m.a)), text(int(m.b))}
	}
	norm := []object{{"type": "Replace", "pattern": object{"String": " "}, "content": "▁"}}
	decode := []object{{"type": "Replace", "pattern": object{"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}
	if t.prefix {
		norm = append([]object{{"type": "Prepend", "prepend": "▁"}}, norm...)
		decode = append(decode, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	var post any
	if t.bos >= 0 {
		bos := object{"SpecialToken": object{"id": text(t.bos), "type_id": 0}}
		post = object{"type": "TemplateProcessing", "single": []object{bos, {"Sequence": object{"id": "A", "type_id": 0}}},
			"pair":           []object{bos, {"Sequence": object{"id": "A", "type_id": 0}}, {"Sequence": object{"id": "B", "type_id": 1}}},
			"special_tokens": object{text(t.bos): object{"id": text(t.bos), "ids": []int{t.bos}, "tokens": []string{text(t.bos)}}}}
	}
	model := object{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
		"fuse_unk": t.fuseUnk, "byte_fallback": hasBytes, "ignore_merges": false, "vocab": vocab, "merges": merges}
	if t.unk >= 0 {
		model["unk_token"] = text(t.unk)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(object{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added,
		"normalizer": object{"type": "Sequence", "normalizers": norm}, "pre_tokenizer": nil, "post_processor": post,
		"decoder": object{"type": "Sequence", "decoders": decode}, "model": model})
}
