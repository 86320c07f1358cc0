package gguf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const wordSpace = "\u2581" // stands for a space in SentencePiece's vocabularies

// TokenizerFiles makes the files that Hugging Face's libraries read a tokenizer from:
// tokenizer.json, tokenizer_config.json and generation_config.json, by name; the last
// one alone where the file has no tokenizer. pre names the pre-tokenizer of a
// byte-level tokenizer in place of the file's; "" = the file's.
func (s *Source) TokenizerFiles(pre string) (map[string][]byte, error) {
	out := map[string][]byte{}
	var err error
	if out["generation_config.json"], err = encodeJSON(s.generationConfig()); err != nil {
		return nil, err
	}
	v, err := s.File.vocabulary()
	if err != nil || v == nil {
		return out, err
	}
	if pre != "" {
		v.pre = pre
	}
	document, err := v.document()
	if err != nil {
		return nil, err
	}
	if out["tokenizer.json"], err = encodeJSON(document); err != nil {
		return nil, err
	}
	out["tokenizer_config.json"], err = encodeJSON(v.settings(s.config.MaxPositions))
	return out, err
}

func encodeJSON(x any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(x)
	return out.Bytes(), err
}

// generationConfig names the tokens that begin and end a text.
func (s *Source) generationConfig() object {
	out := object{}
	if s.config.BOS >= 0 {
		out["bos_token_id"] = s.config.BOS
	}
	switch ends := s.config.EOS; len(ends) {
	case 0:
	case 1:
		out["eos_token_id"] = ends[0]
	default:
		out["eos_token_id"] = ends
	}
	return out
}

// document is the tokenizer.json.
func (v *vocabulary) document() (object, error) {
	vocab, added := object{}, []object{}
	for id, text := range v.texts {
		if v.padded(id) {
			continue
		}
		switch v.kind(id) {
		case tokenControl, tokenUnknown, tokenUser:
			added = append(added, object{"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
				"normalized": false, "special": v.kind(id) != tokenUser})
		}
		vocab[text] = id
	}
	model := object{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
		"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab}
	out := object{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "post_processor": v.template(), "model": model}
	complete := v.bytePairs
	if v.model == "llama" {
		complete = v.sentencePieces
	}
	return out, complete(out, model)
}

// bytePairs completes a tokenizer.json of byte-level BPE.
func (v *vocabulary) bytePairs(out, model object) error {
	p, ok := preTokenizers[v.pre]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(preTokenizers)), ", ")
		return fmt.Errorf("%spre: want one of %s, got %q", tokenizerKey, known, clip(v.pre))
	}
	merges := make([][2]string, len(v.merges))
	for i, line := range v.merges {
		a, b, err := splitMerge(line)
		if err != nil {
			return fmt.Errorf("%smerges: merge %d: %w, got %q", tokenizerKey, i, err, clip(line))
		}
		merges[i] = [2]string{a, b}
	}
	model["merges"], model["ignore_merges"] = merges, p.ignoreMerges
	out["normalizer"], out["decoder"] = nil, byteLevel(true)
	out["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": p.steps}
	if len(p.steps) == 1 {
		out["pre_tokenizer"] = p.steps[0]
	}
	return nil
}

// sentencePieces completes a tokenizer.json of SentencePiece's BPE.
func (v *vocabulary) sentencePieces(out, model object) error {
	byteTokens := 0
	for id := range v.texts {
		if v.kind(id) == tokenByte {
			byteTokens++
		}
	}
	if byteTokens != 0 && byteTokens != 256 {
		return fmt.Errorf("%stoken_type: want 256 byte tokens or none, got %d", tokenizerKey, byteTokens)
	}
	model["byte_fallback"], model["fuse_unk"] = byteTokens > 0, true
	for id := range v.texts {
		if v.kind(id) == tokenUnknown {
			model["unk_token"] = v.texts[id]
			break
		}
	}
	model["merges"] = v.scoreMerges()
	replace := func(from, to string) object {
		return object{"type": "Replace", "pattern": object{"String": from}, "content": to}
	}
	normalizers := []object{replace(" ", wordSpace)}
	decoders := []object{replace(wordSpace, " "), {"type": "ByteFallback"}, {"type": "Fuse"}}
	if v.addSpace {
		normalizers = []object{{"type": "Prepend", "prepend": wordSpace}, normalizers[0]}
		decoders = append(decoders, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	out["normalizer"], out["pre_tokenizer"] = object{"type": "Sequence", "normalizers": normalizers}, nil
	out["decoder"] = object{"type": "Sequence", "decoders": decoders}
	return nil
}

// scoreMerges lists the merges that SentencePiece makes: of any two tokens whose
// joined text is a token, those with the highest score first. Equal scores go by the
// order of the tokens, which is that of training: a file whose converter wrote -1000
// for all of them is right again.
func (v *vocabulary) scoreMerges() [][2]string {
	ids := make(map[string]int, len(v.texts))
	for id, text := range v.texts {
		if k := v.kind(id); k == tokenNormal || k == tokenUnused && !v.padded(id) {
			ids[text] = id
		}
	}
	type merge struct{ a, b, result int }
	var all []merge
	for text, id := range ids {
		for cut := range text {
			a, okA := ids[text[:cut]]
			b, okB := ids[text[cut:]]
			if okA && okB {
				all = append(all, merge{a, b, id})
			}
		}
	}
	slices.SortFunc(all, func(x, y merge) int {
		return cmp.Or(-cmp.Compare(v.scores[x.result], v.scores[y.result]), cmp.Compare(x.result, y.result),
			cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	out := make([][2]string, len(all))
	for i, m := range all {
		out[i] = [2]string{v.texts[m.a], v.texts[m.b]}
	}
	return out
}

// template is the post-processor: BOS and EOS around a text, where the file asks for
// them.
func (v *vocabulary) template() any {
	text := func(id string, n int) object { return object{"Sequence": object{"id": id, "type_id": n}} }
	special := func(id, n int) object { return object{"SpecialToken": object{"id": v.texts[id], "type_id": n}} }
	tokens := object{}
	around := func(name string, n int) (out []object) {
		if v.addBOS && v.bos >= 0 {
			out = append(out, special(v.bos, n))
			tokens[v.texts[v.bos]] = object{"id": v.texts[v.bos], "ids": []int{v.bos}, "tokens": []string{v.texts[v.bos]}}
		}
		out = append(out, text(name, n))
		if v.addEOS && v.eos >= 0 {
			out = append(out, special(v.eos, n))
			tokens[v.texts[v.eos]] = object{"id": v.texts[v.eos], "ids": []int{v.eos}, "tokens": []string{v.texts[v.eos]}}
		}
		return out
	}
	first := around("A", 0)
	second := around("B", 1)
	if len(tokens) == 0 {
		return nil
	}
	return object{"type": "TemplateProcessing", "single": first, "pair": append(slices.Clone(first), second...), "special_tokens": tokens}
}

// settings is the tokenizer_config.json; context is the model's longest text, in
// tokens.
func (v *vocabulary) settings(context int) object {
	out := object{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context, "clean_up_tokenization_spaces": false,
		"add_bos_token": v.addBOS && v.bos >= 0, "add_eos_token": v.addEOS && v.eos >= 0}
	for key, id := range map[string]int{"bos_token": v.bos, "eos_token": v.eos, "unk_token": v.unknown, "pad_token": v.padding} {
		out[key] = nil
		if id >= 0 && !v.padded(id) {
			out[key] = v.texts[id]
		}
	}
	if v.chatTemplate != "" {
		out["chat_template"] = v.chatTemplate
	}
	return out
}
