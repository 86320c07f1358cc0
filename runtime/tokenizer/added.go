package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// addedToken is a text that stands for one id wherever it is found.
type addedToken struct {
	text       string
	id         int
	special    bool // found only on request
	singleWord bool // not next to a word character
	lstrip     bool // includes the white space before it
	rstrip     bool // includes the white space after it
}

// addedSet finds added tokens in a text: of those that begin earliest the longest.
// Searching is linear in the text times the longest token.
type addedSet struct {
	tokens []addedToken
	texts  trie // values are indices of tokens
}

// add adds a token. Of two with the same text the first one counts.
func (s *addedSet) add(a addedToken) {
	if a.text != "" && s.texts.add(a.text, int32(len(s.tokens))) {
		s.tokens = append(s.tokens, a)
	}
}

// longest is the longest token that is a prefix of text, nil = none.
func (s *addedSet) longest(text []byte) *addedToken {
	found := int32(none)
	s.texts.prefixes(text, func(_ int, i int32) { found = i })
	if found == none {
		return nil
	}
	return &s.tokens[found]
}

// trie maps texts to numbers. The zero value is empty.
type trie struct {
	next  map[edge]int32 // node 0 is the root
	value []int32        // by node; none = no text ends there
	first [256]bool      // bytes with which a text begins
}

type edge struct {
	node int32
	b    byte
}

// add reports whether the text was not there before; otherwise it changes nothing.
func (t *trie) add(text string, value int32) bool {
	if t.next == nil {
		t.next, t.value = map[edge]int32{}, []int32{none}
	}
	node := int32(0)
	for i := range len(text) {
		e := edge{node, text[i]}
		n, ok := t.next[e]
		if !ok {
			n = int32(len(t.value))
			t.next[e] = n
			t.value = append(t.value, none)
		}
		node = n
	}
	if t.value[node] != none {
		return false
	}
	t.value[node] = value
	if text != "" {
		t.first[text[0]] = true
	}
	return true
}

// prefixes calls each for every text that is a prefix of text, the shortest first.
func (t *trie) prefixes(text []byte, each func(n int, value int32)) {
	if len(text) == 0 || !t.first[text[0]] {
		return
	}
	node := int32(0)
	for i, b := range text {
		n, ok := t.next[edge{node, b}]
		if !ok {
			return
		}
		if node = n; t.value[node] != none {
			each(i+1, t.value[node])
		}
	}
}

// section is a part of a text: an added token, or what is between two (id -1).
type section struct {
	text  []byte
	start int
	id    int
}

// split cuts a text at its added tokens. A token that is found but does not count (a
// special one that was not asked for, or a part of a word) still hides others that
// overlap it, as in the tokenizers library.
func (s *addedSet) split(text []byte, special bool) []section {
	if len(text) == 0 {
		return nil
	}
	if len(s.tokens) == 0 {
		return []section{{text, 0, none}}
	}
	var out []section
	done := 0
	for i := 0; i < len(text); {
		a := s.longest(text[i:])
		if a == nil {
			i++
			continue
		}
		start, stop := i, i+len(a.text)
		i = stop
		if a.special && !special || a.singleWord && (endsInWord(text[:start]) || beginsWord(text[stop:])) {
			continue
		}
		if a.lstrip {
			for start > done {
				r, n := utf8.DecodeLastRune(text[done:start])
				if !unicode.IsSpace(r) {
					break
				}
				start -= n
			}
		}
		if a.rstrip {
			stop += span(text[stop:], unicode.IsSpace)
		}
		if done < start {
			out = append(out, section{text[done:start], done, none})
		}
		out = append(out, section{nil, start, a.id})
		done = stop
	}
	if done < len(text) {
		out = append(out, section{text[done:], done, none})
	}
	return out
}

func endsInWord(text []byte) bool {
	r, n := utf8.DecodeLastRune(text)
	return n > 0 && isWord(r)
}

func beginsWord(text []byte) bool {
	r, n := utf8.DecodeRune(text)
	return n > 0 && isWord(r)
}

// isWord is \w of Rust's regular expressions (UTS 18, annex C).
func isWord(r rune) bool {
	return unicode.In(r, unicode.Letter, unicode.Nl, unicode.Other_Alphabetic, unicode.Mark, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
