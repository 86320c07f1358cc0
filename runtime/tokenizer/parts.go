package tokenizer

import (
	"bytes"
	"strings"
)

// A long text is encoded a part at a time, so that what is made of it on the way
// stays small, and only as far as its ids are wanted. Parts are cut at seams: a
// space between two ASCII letters, away from all added tokens. What comes before a
// seam has the same ids whatever follows, and the other way round, but that a text
// begins otherwise than it goes on: so the next part begins at a seam before the
// end of the last one, and the ids that it shares with that are left out.
const (
	firstBytes = 1 << 14 // of the first part; each is twice as long as the one before
	partBytes  = 1 << 20 // but no longer
	leadBytes  = 1 << 8  // at least, that two parts share
)

// seams finds a tokenizer's.
type seams struct {
	t     *Tokenizer
	sets  []*addedSet
	reach int // bytes of the longest added token
}

// longestReach is how long an added token, or a sequence that is normalised as one,
// may be where texts are cut.
const longestReach = 64

// seams says whether texts can be cut at all: words must end at spaces, and
// normalising be the space's own affair.
func (t *Tokenizer) seams() (s seams, ok bool) {
	s = seams{t: t, sets: []*addedSet{&t.raw, &t.normalized, &t.model.user}}
	if t.normalizer.piece != nil {
		s.sets = append(s.sets, &t.normalizer.piece.user)
	}
	for _, set := range s.sets {
		for _, a := range set.tokens {
			s.reach = max(s.reach, len(a.text))
		}
	}
	for _, r := range t.normalizer.rules {
		if r.from != "" && r.from != " " && r.from != meta {
			return s, false
		}
	}
	if s.reach > longestReach {
		return s, false
	}
	space, err := t.normalizer.apply([]byte("a b"))
	if err != nil {
		return s, false
	}
	text := string(space)
	if t.words.replacement != "" {
		text = strings.ReplaceAll(text, " ", t.words.replacement)
	}
	switch t.words.cut {
	case cutNowhere:
		return s, t.model.space != "" && !t.model.whole && strings.HasSuffix(text, "a"+t.model.space+"b")
	case cutReplacement:
		return s, strings.HasSuffix(text, "a"+t.words.replacement+"b")
	}
	return s, strings.HasSuffix(text, "a b")
}

// next is the first seam of a text that is not before from; its length = none.
func (s *seams) next(text []byte, from int) int {
	for at := max(from, 1); at+1 < len(text); at++ {
		if text[at] == ' ' && isASCIILetter(text[at-1]) && isASCIILetter(text[at+1]) && s.clear(text, at) {
			return at
		}
	}
	return len(text)
}

func isASCIILetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// clear says that nothing around a space reaches over it.
func (s *seams) clear(text []byte, at int) bool {
	if s.reach > 0 {
		around := text[max(0, at-s.reach):min(len(text), at+2+s.reach)]
		for _, around := range [][]byte{around, bytes.ReplaceAll(around, []byte(" "), []byte(meta))} {
			for _, set := range s.sets {
				for i := range around {
					if set.longest(around[i:]) != nil {
						return false
					}
				}
			}
		}
	}
	n := s.t.normalizer.piece
	if n == nil {
		return true
	}
	for i := max(0, at-longestReach); i <= at+1; i++ {
		mapped, size := n.next(text[i:])
		if i < at && i+size > at || i >= at-1 && (size != 1 || len(mapped) != 1 || mapped[0] != text[i]) {
			return false
		}
	}
	return true
}

// inParts encodes a text in parts of about size bytes, which doubles until it is
// most, and hands their ids out, until each says that it is enough.
func (t *Tokenizer) inParts(text []byte, o EncodeOptions, size, most int, each func(ids []int) (more bool)) error {
	s, ok := t.seams()
	begin, end := 0, 0 // text[begin:end] has been handed out, as what text[:end] ends in
	for {
		known := 0
		if end > begin {
			ids, err := t.encode(text[begin:end], o)
			if err != nil {
				return err
			}
			known = len(ids)
		}
		next, stop := len(text), len(text)
		if ok && len(text)-end > size {
			next = s.next(text, end+size)
			stop = s.next(text, min(next+leadBytes, len(text)))
		}
		ids, err := t.encode(text[begin:stop], o)
		if err != nil {
			return err
		}
		if !each(ids[known:]) || stop == len(text) {
			return nil
		}
		begin, end, o.BOS, size = next, stop, false, min(2*size, most)
	}
}

// EncodeEach is Encode for texts of any length: it hands the ids out as they come,
// until each says that it is enough.
func (t *Tokenizer) EncodeEach(text []byte, o EncodeOptions, each func(ids []int) (more bool)) error {
	return t.inParts(text, o, firstBytes, partBytes, each)
}

// EncodeFirst gives the first n ids of Encode, and looks at no more of the text
// than they need.
func (t *Tokenizer) EncodeFirst(text []byte, n int, o EncodeOptions) ([]int, error) {
	var out []int
	err := t.EncodeEach(text, o, func(ids []int) bool {
		out = append(out, ids...)
		return len(out) < n
	})
	return out[:min(len(out), max(n, 0))], err
}
