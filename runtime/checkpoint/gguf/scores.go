package gguf

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"mop/runtime/tokenizer"
	"mop/runtime/tokenizer/sentencepiece"
)

// unreachable is the score of a token that no merge gives, below those of all merges.
const unreachable = -1e9

// llama.cpp's tokenizer llama merges any two neighbours whose joined text is a token,
// the token with the highest score first. tokenizer.json merges the pairs of a list, the
// first one first. Both are deterministic and never undo a merge, which decides when
// they agree on all texts:
//
// If two neighbours a and b with a+b = T meet in some text, then nothing has merged
// across the ends of T so far. What happened inside it is therefore what happens when T
// stands alone, and (a, b) is the last pair before T there. So it suffices that for each
// token T alone both either end with T, the score of T falling with the rank of T's last
// merge, or both do not. fromMerges makes the scores and checks that.

// fromMerges completes a tokenizer.json of SentencePiece's BPE.
func (v *vocabulary) fromMerges(d *document) error {
	v.model = "llama"
	ranks := make(map[[2]string]int, len(d.Model.merges))
	for rank, m := range d.Model.merges {
		ranks[m] = rank // of a pair that is listed twice the last one counts
	}
	if !d.Model.ByteFallback {
		return fmt.Errorf("%w: without byte tokens it has no way to write an unknown character", ErrTokenizer)
	}
	cutsWords, err := v.fromPrefix(d)
	if err != nil {
		return err
	}
	if err := v.markBytes(); err != nil {
		return err
	}
	v.scores = make([]float32, len(v.texts))
	ids := v.ids()
	last := make([]int, len(v.texts)) // rank of the last merge; -1 = no merge gives the token
	for id, text := range v.texts {
		last[id] = -1
		if v.types[id] != tokenByte && text != "" {
			last[id] = lastMerge(text, ranks, ids, cutsWords)
		}
		v.scores[id] = unreachable
		if last[id] >= 0 || utf8.RuneCountInString(text) == 1 {
			v.scores[id] = -float32(max(last[id], 0))
		}
	}
	for id, text := range v.texts {
		merged := v.types[id] == tokenNormal || v.types[id] == tokenByte
		if !merged || text == "" || utf8.RuneCountInString(text) < 2 {
			continue
		}
		if formed := v.forms(text, ids); formed != (last[id] >= 0) {
			return fmt.Errorf("%w: token %d, %q, %s", ErrTokenizer, id, clip(text), map[bool]string{true: "is made by no merge, but llama.cpp would join its parts", false: "is made by merges that llama.cpp would not do"}[formed])
		} else if !formed && d.Model.IgnoreMerges && v.types[id] == tokenNormal {
			return fmt.Errorf("%w: token %d, %q, is made by no merge, and ignore_merges is set", ErrTokenizer, id, clip(text))
		}
	}
	return nil
}

// ids finds tokens by their text, as llama.cpp does, whatever their type.
func (v *vocabulary) ids() map[string]int {
	out := make(map[string]int, len(v.texts))
	for id, text := range v.texts {
		if text != "" {
			out[text] = id
		}
	}
	return out
}

// markBytes sets the types of the byte tokens, of which there must be 256, and of the
// unknown token.
func (v *vocabulary) markBytes() error {
	found := 0
	for id, text := range v.texts {
		var b byte
		if n, err := fmt.Sscanf(text, "<0x%02X>", &b); n == 1 && err == nil && text == fmt.Sprintf("<0x%02X>", b) {
			v.types[id] = tokenByte
			found++
		}
	}
	if found != 256 {
		return fmt.Errorf("%w: it has %d byte tokens, and llama.cpp needs all 256", ErrTokenizer, found)
	}
	if v.unknown >= 0 {
		v.types[v.unknown] = tokenUnknown
	}
	return nil
}

// fromPrefix reads how spaces become U+2581 and where one is put in front of a text.
// cutsWords says that merges do not cross the beginning of a word.
func (v *vocabulary) fromPrefix(d *document) (cutsWords bool, err error) {
	replaces := false
	for i, s := range flatten(d.Normalizer) {
		pattern, _ := s["pattern"].(object)
		switch {
		case s["type"] == "Prepend" && s["prepend"] == wordSpace && i == 0:
			v.addSpace = true
		case s["type"] == "Replace" && pattern["String"] == " " && s["content"] == wordSpace && !replaces:
			replaces = true
		default:
			return false, fmt.Errorf("%w: the normalizer %v", ErrTokenizer, s["type"])
		}
	}
	steps := flatten(d.PreTokenizer)
	if len(steps) == 0 && replaces {
		return false, nil
	}
	if len(steps) != 1 || steps[0]["type"] != "Metaspace" || steps[0]["replacement"] != wordSpace || v.addSpace {
		return false, fmt.Errorf("%w: its normalizer and pre-tokenizer are not those of SentencePiece", ErrTokenizer)
	}
	scheme, given := steps[0]["prepend_scheme"].(string)
	if steps[0]["add_prefix_space"] == false {
		scheme = "never"
	} else if !given {
		scheme = "always"
	}
	if v.addSpace = scheme != "never"; v.addSpace {
		v.note("llama.cpp puts a space in front of texts that begin with one, too; this tokenizer does not")
	}
	if scheme == "first" {
		v.note("llama.cpp puts a space in front of the text behind a special token, too; this tokenizer does not")
	}
	return steps[0]["split"] != false, nil
}

// lastMerge is the rank of the merge that makes a token when its text stands alone, -1 if
// none does.
func lastMerge(text string, ranks map[[2]string]int, ids map[string]int, cutsWords bool) int {
	if cutsWords && strings.Contains(text[1:], wordSpace) && strings.LastIndex(text, wordSpace) > 0 {
		return -1
	}
	parts := characters(text, ids)
	best := -1
	for len(parts) > 1 {
		at := -1
		for i := range len(parts) - 1 {
			if r, ok := ranks[[2]string{parts[i], parts[i+1]}]; ok && (at < 0 || r < best) {
				at, best = i, r
			}
		}
		if at < 0 {
			return -1
		}
		parts = join(parts, at)
	}
	return best
}

// forms reports whether llama.cpp makes one token of a text.
func (v *vocabulary) forms(text string, ids map[string]int) bool {
	parts := strings.Split(text, "")
	for len(parts) > 1 {
		at, best := -1, float32(0)
		for i := range len(parts) - 1 {
			if id, ok := ids[parts[i]+parts[i+1]]; ok && (at < 0 || v.scores[id] > best) {
				at, best = i, v.scores[id]
			}
		}
		if at < 0 {
			return false
		}
		parts = join(parts, at)
	}
	return true
}

// characters cuts a text. A character that is no token is spelled so that it merges with
// nothing.
func characters(text string, ids map[string]int) []string {
	parts := strings.Split(text, "")
	for i, p := range parts {
		if _, ok := ids[p]; !ok {
			parts[i] = "\xff" + p
		}
	}
	return parts
}

// join merges two neighbours.
func join(parts []string, at int) []string {
	parts[at] += parts[at+1]
	return slices.Delete(parts, at+1, at+2)
}

// fromSentencePiece fills in a SentencePiece model: llama.cpp's tokenizer llama is its
// algorithm.
func (v *vocabulary) fromSentencePiece(data []byte, t *tokenizer.Tokenizer) error {
	f, err := sentencepiece.Read(data)
	if err != nil {
		return err
	}
	chars, err := sentencepiece.ParseCharsMap(f.CharsMap)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		wrong bool
		what  string
	}{
		{f.Type != sentencepiece.BPE, "a unigram model, which this export does not write"},
		{!chars.Empty(), "it normalises characters"},
		{f.RemoveExtraWhitespaces, "it removes spaces (remove_extra_whitespaces)"},
		{!f.EscapeWhitespaces, "it does not escape spaces"},
		{!f.ByteFallback, "without byte tokens it has no way to write an unknown character"},
	} {
		if c.wrong {
			return fmt.Errorf("%w: %s", ErrTokenizer, c.what)
		}
	}
	v.model, v.scores = "llama", make([]float32, len(v.texts))
	for id, p := range f.Pieces {
		v.texts[id], v.types[id], v.scores[id] = p.Text, int64(p.Type), p.Score
		if p.Type == sentencepiece.Unknown {
			v.unknown = id
		}
	}
	before := slices.Clone(v.types)
	if err := v.addTokens(t); err != nil {
		return err
	}
	for id := range f.Pieces { // the file's types count, with those that files beside it changed
		if before[id] != tokenNormal {
			v.types[id] = before[id]
		}
	}
	start, everywhere := t.PrefixesStart()
	v.addSpace = start
	if start && !everywhere {
		v.note("llama.cpp puts a space in front of the text behind a special token, too; this tokenizer does not")
	}
	return v.checkPieces()
}

// checkPieces checks that llama.cpp merges to no piece that SentencePiece does not merge
// to.
func (v *vocabulary) checkPieces() error {
	ids := v.ids()
	for id, text := range v.texts {
		switch v.types[id] {
		case tokenUnused:
			return fmt.Errorf("%w: the unused piece %d, %q", ErrTokenizer, id, clip(text))
		case tokenUser:
			if v.addSpace {
				v.note("llama.cpp puts a space in front of the text behind %q", text)
			}
		case tokenUnknown, tokenByte, tokenControl:
			if utf8.RuneCountInString(text) > 1 && v.forms(text, ids) {
				v.note("llama.cpp reads the text %q as the token itself", text)
			}
		}
	}
	return nil
}
