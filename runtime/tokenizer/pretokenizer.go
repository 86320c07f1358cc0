package tokenizer

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"mop/runtime/tokenizer/oniguruma"
)

// word is a part of a text within which pieces may merge. first says that it begins
// where the whole text begins.
type word struct {
	text  []byte
	first bool
}

// preTokenizer cuts words into smaller ones, as one pre-tokenizer of a tokenizer.json
// does.
type preTokenizer interface {
	apply(w word, e *encoder, out []word) []word
}

// behavior says what becomes of the matches of a splitter.
type behavior uint8

const (
	isolated           behavior = iota // each is a word
	removed                            // each is dropped
	mergedWithPrevious                 // each ends the word before it
	mergedWithNext                     // each begins the word after it
	contiguous                         // neighbouring ones are one word
)

// splitter cuts words at the matches of a pattern, which is one of four.
type splitter struct {
	regex   *oniguruma.Regexp
	literal []byte
	rune    func(rune) bool       // each such rune is a match
	cover   func(text []byte) int // length of the first match; the matches cover the text

	behavior behavior
	invert   bool // what is not a match counts as one
	spelled  bool // behind ByteLevel: the pattern sees bytes spelled as characters
	local    bool // the result around a space between two letters depends on nothing else
}

// segment is a match, or the text between two.
type segment struct {
	end   int
	match bool
}

func (s *splitter) apply(w word, e *encoder, out []word) []word {
	start := 0
	put := func(end int, drop bool) {
		if end > start && !drop {
			out = append(out, word{w.text[start:end:end], w.first && start == 0})
		}
		start = end
	}
	if s.cover != nil && s.behavior == isolated {
		for rest := w.text; len(rest) > 0; {
			n := s.cover(rest)
			put(start+n, false)
			rest = rest[n:]
		}
		return out
	}
	list := s.segments(w.text, e)
	for i, g := range list {
		match := func(k int) bool { return k >= 0 && k < len(list) && list[k].match != s.invert }
		switch s.behavior {
		case isolated:
			put(g.end, false)
		case removed:
			put(g.end, match(i))
		case mergedWithPrevious: // a match joins what is before it, unless that is a match
			if i+1 == len(list) || !match(i+1) || match(i) {
				put(g.end, false)
			}
		case mergedWithNext: // a match joins what is behind it, unless that is a match
			if i+1 == len(list) || !match(i) || match(i+1) {
				put(g.end, false)
			}
		case contiguous:
			if i+1 == len(list) || match(i) != match(i+1) {
				put(g.end, false)
			}
		}
	}
	return out
}

// segments lists the matches in a text and what is between them, none of it empty.
func (s *splitter) segments(text []byte, e *encoder) []segment {
	seen, back := text, func(at int) int { return at }
	if s.spelled {
		seen, back = spell(text)
	}
	out := e.segments[:0]
	last := 0
	add := func(start, end int) {
		if start, end = back(start), back(end); start > last {
			out = append(out, segment{start, false})
		}
		if end > max(start, last) {
			out = append(out, segment{end, true})
		}
		last = max(last, end)
	}
	switch {
	case s.regex != nil:
		e.matcher(s.regex).FindAll(seen, add)
	case s.rune != nil:
		for i := 0; i < len(seen); {
			r, n := utf8.DecodeRune(seen[i:])
			if s.rune(r) {
				add(i, i+n)
			}
			i += n
		}
	case s.cover != nil:
		for i := 0; i < len(seen); {
			n := s.cover(seen[i:])
			add(i, i+n)
			i += n
		}
	default:
		for i := 0; ; {
			n := bytes.Index(seen[i:], s.literal)
			if n < 0 {
				break
			}
			add(i+n, i+n+len(s.literal))
			i += n + len(s.literal)
		}
	}
	if last < len(text) {
		out = append(out, segment{len(text), false})
	}
	e.segments = out
	return out
}

// spell writes bytes as byte-level vocabularies do, one character for each. back
// turns an offset in the result, at a character, into one in the text; its calls must
// be in order.
func spell(text []byte) (spelled []byte, back func(at int) int) {
	spelled = make([]byte, 0, 2*len(text))
	for _, b := range text {
		spelled = append(spelled, byteSpelling[b]...)
	}
	from, to := 0, 0
	return spelled, func(at int) int {
		for from < at {
			from += len(byteSpelling[text[to]])
			to++
		}
		return to
	}
}

// byteSpelling is the character that stands for each byte.
var byteSpelling = func() (out [256]string) {
	for r := rune(0); r <= 0x143; r++ {
		if b, ok := bytesOf(string(r)); ok {
			out[b[0]] = string(r)
		}
	}
	return out
}()

// byteLevel puts a space in front of each word, if prefix is set; the bytes of the
// text are the symbols anyway.
type byteLevel struct{ prefix bool }

func (b byteLevel) apply(w word, _ *encoder, out []word) []word {
	if b.prefix && w.text[0] != ' ' {
		w.text = append([]byte{' '}, w.text...)
	}
	return append(out, w)
}

// metaspace writes spaces as replacement, and puts one in front.
type metaspace struct {
	replacement string
	prefix      prefix
	split       bool // each replacement begins a word
}

// prefix says which texts that do not begin with a space get one.
type prefix uint8

const (
	prefixNever  prefix = iota
	prefixFirst         // what begins the whole text
	prefixAlways        // every one
)

func (m metaspace) apply(w word, _ *encoder, out []word) []word {
	mark := []byte(m.replacement)
	text := bytes.ReplaceAll(w.text, []byte(" "), mark)
	if (m.prefix == prefixAlways || m.prefix == prefixFirst && w.first) && !bytes.HasPrefix(text, mark) {
		text = append(bytes.Clone(mark), text...)
	}
	if !m.split {
		return append(out, word{text, w.first})
	}
	for first := w.first; len(text) > 0; first = false {
		n := len(text)
		if i := bytes.Index(text[1:], mark); i >= 0 {
			n = 1 + i
		}
		out = append(out, word{text[:n:n], first})
		text = text[n:]
	}
	return out
}

// isPunctuation is what the pre-tokenizer Punctuation means.
func isPunctuation(r rune) bool {
	if r < 128 {
		return r > ' ' && r < 127 && !(r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z')
	}
	return unicode.Is(unicode.P, r)
}
