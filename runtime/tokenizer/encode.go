package tokenizer

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"mop/runtime/tokenizer/oniguruma"
)

// bpe is a vocabulary whose symbols merge: by the ranks of listed pairs of ids
// (tokenizer.json) or, where byText is set, whenever the joined text of two neighbours
// is a piece, the piece of lowest rank first.
type bpe struct {
	ids     map[string]int32 // pieces that text can become, by their text
	control map[string]int32 // pieces of one character that are not in ids
	pairs   map[pair]merge   // not byText
	byText  bool
	rank    []int32 // byText, by id: lower goes first, -1 = never
	longest int     // byText: bytes of the longest piece
	unused  []bool  // byText, by id: taken apart again when merging is done; nil = none

	user    addedSet   // pieces that are symbols as a whole and never merge
	raw     [256]int32 // id of each byte on its own, none = -1
	unk     int        // none = -1
	fuseUnk bool       // unknown symbols in a row give one id
	strict  bool       // byText: a character that is no piece does not merge
	bytes   bool       // symbols are bytes, not characters
	whole   bool       // a word that is itself a piece is not merged
	space   string     // a piece, before which no merge reaches back past other text; "" = none
}

// encoder holds the state of one call of Encode, and the memory that it reuses from
// word to word.
type encoder struct {
	t            *Tokenizer
	ids          []int
	words, spare []word
	segments     []segment
	matchers     map[*oniguruma.Regexp]*oniguruma.Matcher

	symbols []symbol
	queue   queue
	split   map[string]int // unused pieces: the length of the left one of their two parts
	pushed  int            // merges that were looked at, for tests

	steps []step  // unigram: the best way to each position
	path  []int32 // unigram: the positions of the best segmentation, from the end
}

// stretch encodes a part of a text that was normalised; first says that the whole text
// begins with it.
func (e *encoder) stretch(text []byte, first bool) error {
	for _, w := range e.cutWords(text, first) {
		encode := e.word
		if e.t.unigram != nil {
			encode = e.best
		}
		if err := encode(w.text); err != nil {
			return err
		}
	}
	return nil
}

// cutWords cuts a normalised text into words by the pre-tokenizers. The result is valid
// until the next call.
func (e *encoder) cutWords(text []byte, first bool) []word {
	words := append(e.words[:0], word{text, first})
	for _, p := range e.t.preTokenizers {
		out := e.spare[:0]
		for _, w := range words {
			out = p.apply(w, e, out)
		}
		words, e.spare = out, words
	}
	e.words = words
	return words
}

// matcher is this call's matcher of a pattern.
func (e *encoder) matcher(re *oniguruma.Regexp) *oniguruma.Matcher {
	m := e.matchers[re]
	if m == nil {
		if e.matchers == nil {
			e.matchers = map[*oniguruma.Regexp]*oniguruma.Matcher{}
		}
		m = re.Matcher()
		e.matchers[re] = m
	}
	return m
}

// word encodes a text within which any neighbours may merge. Where no piece has a space
// after something else, each part that begins with spaces is merged separately: the
// ids are the same, and short lists stay in the processor's cache.
func (e *encoder) word(text []byte) error {
	m := &e.t.model
	if m.whole {
		if id, ok := m.ids[string(text)]; ok {
			e.ids = append(e.ids, int(id))
			return nil
		}
	}
	for m.space != "" {
		n := 0
		for bytes.HasPrefix(text[n:], []byte(m.space)) {
			n += len(m.space)
		}
		more := bytes.Index(text[n:], []byte(m.space))
		if more < 0 {
			break
		}
		if err := e.part(text[:n+more]); err != nil {
			return err
		}
		text = text[n+more:]
	}
	return e.part(text)
}

// part encodes a word or a part of one that merges on its own.
func (e *encoder) part(text []byte) error {
	m := &e.t.model
	if err := e.cut(text); err != nil {
		return err
	}
	e.mergeAll(text)
	fused := false
	for i := int32(0); i >= 0; i = e.symbols[i].next {
		s := &e.symbols[i]
		if s.id >= 0 {
			if m.unused != nil && m.unused[s.id] {
				if err := e.reSplit(text[s.start:s.end], &fused); err != nil {
					return err
				}
				continue
			}
			e.ids = append(e.ids, int(s.id))
			fused = false
		} else if err := e.unknown(text[s.start:s.end], &fused); err != nil {
			return err
		}
	}
	return nil
}

// unknown appends the ids of a text that is not a piece: its bytes, or the unknown id.
func (e *encoder) unknown(text []byte, fused *bool) error {
	m := &e.t.model
	if m.hasBytes(text) {
		for _, b := range text {
			e.ids = append(e.ids, int(m.raw[b]))
		}
		*fused = false
		return nil
	}
	if m.unk < 0 {
		return m.missing(text)
	}
	if !*fused || !m.fuseUnk {
		e.ids = append(e.ids, m.unk)
	}
	*fused = true
	return nil
}

// reSplit splits an unused piece into the two that it was merged from.
func (e *encoder) reSplit(text []byte, fused *bool) error {
	m := &e.t.model
	id, ok := m.lookup(text)
	if !ok {
		return e.unknown(text, fused)
	}
	if n := e.split[string(text)]; m.unused[id] && n > 0 {
		if err := e.reSplit(text[:n], fused); err != nil {
			return err
		}
		return e.reSplit(text[n:], fused)
	}
	e.ids = append(e.ids, int(id))
	*fused = false
	return nil
}

// cut makes the symbols with which merging begins.
func (e *encoder) cut(text []byte) error {
	m := &e.t.model
	e.symbols = e.symbols[:0]
	put := func(start, end int, id int32, frozen bool) {
		n := int32(len(e.symbols))
		e.symbols = append(e.symbols, symbol{start: int32(start), end: int32(end), prev: n - 1, next: n + 1, id: id, frozen: frozen})
	}
	for i := 0; i < len(text); {
		if a := m.user.longest(text[i:]); a != nil {
			put(i, i+len(a.text), int32(a.id), true)
			i += len(a.text)
			continue
		}
		n, valid := 1, true
		if !m.bytes {
			var r rune
			r, n = utf8.DecodeRune(text[i:])
			valid = r != utf8.RuneError || n > 1
		}
		ch := text[i : i+n]
		id, ok := m.lookup(ch)
		switch {
		case ok && valid:
			put(i, i+n, id, false)
		case m.byText && m.bytes:
			return m.missing(ch)
		case m.byText: // its ids come after merging
			put(i, i+n, none, m.strict || !valid)
		case !m.bytes && m.hasBytes(ch):
			for k, b := range ch {
				put(i+k, i+k+1, m.raw[b], false)
			}
		case m.unk < 0:
			return m.missing(ch)
		default:
			if last := len(e.symbols) - 1; m.fuseUnk && last >= 0 && e.symbols[last].id == int32(m.unk) && e.symbols[last].unk {
				e.symbols[last].end = int32(i + n)
			} else {
				put(i, i+n, int32(m.unk), false)
				e.symbols[len(e.symbols)-1].unk = true
			}
		}
		i += n
	}
	e.symbols[len(e.symbols)-1].next = none
	return nil
}

// cutAtSpaces sets space where that does not change the ids: space is a piece itself,
// so that unknown ids never fuse across it, and no piece has it after something else.
func (m *bpe) cutAtSpaces(space string) {
	if _, ok := m.ids[space]; !ok || m.bytes {
		return
	}
	inside := func(text string) bool {
		return strings.Contains(strings.TrimLeft(text, space), space)
	}
	for text := range m.ids {
		if inside(text) {
			return
		}
	}
	m.space = space
}

func (m *bpe) lookup(text []byte) (int32, bool) {
	if id, ok := m.control[string(text)]; ok {
		return id, true
	}
	id, ok := m.ids[string(text)]
	return id, ok
}

// hasBytes reports whether each byte of text has an id.
func (m *bpe) hasBytes(text []byte) bool {
	for _, b := range text {
		if m.raw[b] < 0 {
			return false
		}
	}
	return true
}

// someBytes reports whether some bytes have ids and others do not.
func (m *bpe) someBytes() bool {
	none, all := true, true
	for _, id := range m.raw {
		none, all = none && id < 0, all && id >= 0
	}
	return !none && !all
}

func (m *bpe) missing(text []byte) error {
	return fmt.Errorf("%q is not in the vocabulary, which has no unknown token", text)
}
