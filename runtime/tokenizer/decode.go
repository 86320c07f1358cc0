package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// Decode gives the bytes of a whole text. Control ids give nothing; the space
// that encoding puts in front is taken away again.
func (t *Tokenizer) Decode(ids []int) ([]byte, error) {
	s := t.Stream(-1)
	var out []byte
	for _, id := range ids {
		b, err := s.Push(id)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return append(out, s.Flush()...), nil
}

// Stream decodes a text id by id.
type Stream struct {
	t     *Tokenizer
	first bool   // nothing but control ids so far
	held  []byte // the beginning of a character that is not complete
}

// Stream begins to decode what follows the id after; -1 = the text's beginning.
func (t *Tokenizer) Stream(after int) *Stream {
	return &Stream{t: t, first: after < 0 || after < len(t.class) && t.class[after] == control}
}

// Push gives the bytes that an id completes: never a part of a character that
// may still become whole. Bytes that cannot become a character come as they are.
func (s *Stream) Push(id int) ([]byte, error) {
	if id < 0 || id >= len(s.t.pieces) {
		return nil, fmt.Errorf("id %d: outside the vocabulary of %d", id, len(s.t.pieces))
	}
	if s.t.class[id] == control {
		return nil, nil
	}
	p := s.t.pieces[id]
	if s.first && s.t.prefix && len(p) > 0 && p[0] == ' ' {
		p = p[1:]
	}
	s.first = false
	s.held = append(s.held, p...)
	n := whole(s.held)
	out := append([]byte(nil), s.held[:n]...)
	s.held = append(s.held[:0], s.held[n:]...)
	return out, nil
}

// Flush gives what is left of a character that was never completed.
func (s *Stream) Flush() []byte {
	out := s.held
	s.held = nil
	return out
}

// whole is the length of b without the beginning of a character at its end that
// more bytes could complete.
func whole(b []byte) int {
	for i := max(0, len(b)-utf8.UTFMax+1); i < len(b); i++ {
		if utf8.RuneStart(b[i]) && !utf8.FullRune(b[i:]) {
			return i
		}
	}
	return len(b)
}
