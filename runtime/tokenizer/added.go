package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// addedToken is text that stands for one id wherever it is found.
type addedToken struct {
	text       string
	id         int
	special    bool // found only on request
	singleWord bool // not next to a word character
	lstrip     bool // takes the white space before it along
	rstrip     bool // and the white space after it
}

// addedSet finds added tokens: of those that begin earliest the longest. The
// search walks a trie from each position, so it is linear in the text times the
// longest token.
type addedSet struct {
	tokens []addedToken
	next   map[edge]int32 // the trie; node 0 is its root
	token  []int32        // by node: the token that ends there, none = -1
	first  [256]bool      // bytes that begin a token
}

type edge struct {
	node int32
	b    byte
}

// add puts a token in; of two with the same text the first one counts.
func (s *addedSet) add(a addedToken) {
	if s.next == nil {
		s.next, s.token = map[edge]int32{}, []int32{none}
	}
	node := int32(0)
	for i := range len(a.text) {
		e := edge{node, a.text[i]}
		n, ok := s.next[e]
		if !ok {
			n = int32(len(s.token))
			s.next[e] = n
			s.token = append(s.token, none)
		}
		node = n
	}
	if s.token[node] == none && a.text != "" {
		s.token[node] = int32(len(s.tokens))
		s.tokens = append(s.tokens, a)
		s.first[a.text[0]] = true
	}
}

// longest is the longest token that text begins with, nil = none.
func (s *addedSet) longest(text []byte) *addedToken {
	if len(text) == 0 || !s.first[text[0]] {
		return nil
	}
	found, node := int32(none), int32(0)
	for _, b := range text {
		n, ok := s.next[edge{node, b}]
		if !ok {
			break
		}
		if node = n; s.token[node] != none {
			found = s.token[node]
		}
	}
	if found == none {
		return nil
	}
	return &s.tokens[found]
}

// section of a text: an added token, or a stretch between two (id -1).
type section struct {
	text  []byte
	start int
	id    int
}

// split cuts a text at its added tokens. A token that is found but does not
// count (a special one that was not asked for, a word's part) still hides others
// that overlap it, as in the peers.
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

// isWord is \w of Unicode's regular expressions (UTS 18, annex C).
func isWord(r rune) bool {
	return unicode.In(r, unicode.Letter, unicode.Nl, unicode.Other_Alphabetic, unicode.Mark, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
