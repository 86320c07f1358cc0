package tokenizer

import (
	"bytes"
	"strings"
)

// A long text is encoded in chunks, so that the memory for intermediate results stays
// small, and only as far as its ids are wanted. Chunks are cut at seams: a space
// between two ASCII letters, away from all added tokens. The ids before a seam do not
// depend on what follows it, and the other way round, except that the beginning of a
// text is encoded differently. So each chunk begins at a seam before the end of the
// last one, and the ids that the two share are left out.
const (
	firstBytes = 1 << 14 // of the first chunk; each is twice as long as the one before
	chunkBytes = 1 << 20 // but no longer
	leadBytes  = 1 << 8  // at least, that two chunks share
)

// seams finds the seams of a tokenizer.
type seams struct {
	t     *Tokenizer
	sets  []*addedSet
	reach int // bytes of the longest added token
}

// longestReach is the most bytes of an added token, or of a sequence that is
// normalised as one, for which texts are cut.
const longestReach = 64

// seams reports whether texts can be cut at all: words must end at spaces, and
// normalising a space must not depend on its neighbours.
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
		if r.regex != nil || r.rewrite != nil || r.from != "" && r.from != " " && r.from != meta {
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
	cut := false // words end at spaces
	for _, p := range t.preTokenizers {
		switch p := p.(type) {
		case *splitter:
			if !p.local {
				return s, false
			}
			cut = cut || p.cover != nil && strings.HasSuffix(text, "a b")
		case metaspace:
			text = strings.ReplaceAll(text, " ", p.replacement)
			cut = cut || p.split && strings.HasSuffix(text, "a"+p.replacement+"b")
		}
	}
	if !cut && t.unigram == nil {
		cut = t.model.space != "" && !t.model.whole && strings.HasSuffix(text, "a"+t.model.space+"b")
	}
	return s, cut
}

// next is the first seam of a text at or after from; the length of the text if there
// is none.
func (s *seams) next(text []byte, from int) int {
	for at := max(from, 1); at+1 < len(text); at++ {
		if text[at] == ' ' && isASCIILetter(text[at-1]) && isASCIILetter(text[at+1]) && s.clear(text, at) {
			return at
		}
	}
	return len(text)
}

func isASCIILetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// clear reports whether no added token and no normalised sequence spans a space.
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

// inChunks encodes a text in chunks of about size bytes, which doubles up to most, and
// calls each with their ids until it returns false.
func (t *Tokenizer) inChunks(text []byte, o EncodeOptions, size, most int, each func(ids []int) (more bool)) error {
	s, ok := t.seams()
	addEOS := o.EOS
	begin, end := 0, 0 // the ids of text[:end] are done; the next chunk begins at begin
	for {
		known := 0
		if o.EOS = false; end > begin {
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
		o.EOS = addEOS && stop == len(text)
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

// EncodeEach is Encode for texts of any length. It calls each with the ids in order,
// a chunk at a time, until it returns false.
func (t *Tokenizer) EncodeEach(text []byte, o EncodeOptions, each func(ids []int) (more bool)) error {
	return t.inChunks(text, o, firstBytes, chunkBytes, each)
}

// EncodeFirst returns the first n ids of Encode, and encodes no more of the text than
// they need.
func (t *Tokenizer) EncodeFirst(text []byte, n int, o EncodeOptions) ([]int, error) {
	var out []int
	err := t.EncodeEach(text, o, func(ids []int) bool {
		out = append(out, ids...)
		return len(out) < n
	})
	return out[:min(len(out), max(n, 0))], err
}
