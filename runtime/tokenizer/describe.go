package tokenizer

import (
	"cmp"
	"slices"
)

// AddedToken is a text that stands for one id wherever it is found.
type AddedToken struct {
	ID                         int
	Text                       string // as it is looked for
	Special                    bool   // found only on request
	SingleWord, LStrip, RStrip bool
	Normalized                 bool // looked for in normalised text
}

// Added lists the added tokens by id: those of the tokenizer's file, and those that the
// files beside it add or change.
func (t *Tokenizer) Added() []AddedToken {
	var out []AddedToken
	for _, set := range []struct {
		tokens     []addedToken
		normalized bool
	}{{t.raw.tokens, false}, {t.normalized.tokens, true}} {
		for _, a := range set.tokens {
			out = append(out, AddedToken{a.id, a.text, a.special, a.singleWord, a.lstrip, a.rstrip, set.normalized})
		}
	}
	slices.SortFunc(out, func(a, b AddedToken) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// File is the path of the file that OpenFile read, "" for a tokenizer of Parse. Open may
// have found it beside the one that it looked for first.
func (t *Tokenizer) File() string { return t.file }

// AddsEOS reports whether texts end with the EOS, or with another token that the file names.
func (t *Tokenizer) AddsEOS() bool { return t.last >= 0 }

// PrefixesStart says where a SentencePiece model puts a space in front of a text: before
// the text and behind each special token (everywhere), only before the text (start), or
// nowhere. It is meaningful for tokenizers read from SentencePiece models only.
func (t *Tokenizer) PrefixesStart() (start, everywhere bool) {
	p := t.normalizer.piece
	if p == nil {
		return false, false
	}
	if p.prefix {
		return true, true
	}
	for _, s := range t.preTokenizers {
		if m, ok := s.(metaspace); ok && m.prefix == prefixFirst {
			return true, false
		}
	}
	return false, false
}
