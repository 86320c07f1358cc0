package tokenizer

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// strip says which spaces at a text's beginning decoding takes away: those that
// encoding puts there.
type strip uint8

const (
	stripNone   strip = iota
	stripPiece        // one space of the first piece, unless it is a byte
	stripText         // one space, wherever it comes from
	stripFirst        // all spaces of the first piece (Metaspace)
	stripPieces       // one space of each piece, until there is text (SentencePiece without extra spaces)
)

// Decode gives the bytes of a whole text. Control ids give nothing; the space
// that encoding puts in front is taken away again. An id outside the vocabulary
// is an error.
func (t *Tokenizer) Decode(ids []int) ([]byte, error) {
	s := t.Stream(none)
	var out []byte
	for _, id := range ids {
		p, err := s.next(id)
		if err != nil {
			return nil, err
		}
		out = append(out, p...)
	}
	return out, nil
}

// Stream decodes a text id by id.
type Stream struct {
	t     *Tokenizer
	first bool   // the beginning, where spaces are taken away
	held  []byte // the beginning of a character that is not complete
}

// Stream begins to decode what follows the id after; -1 = the text's beginning.
func (t *Tokenizer) Stream(after int) *Stream {
	return &Stream{t: t, first: after < 0 || after < len(t.class) && t.class[after] == control}
}

// Push gives the bytes that an id completes: never a part of a character that
// may still become whole. Bytes that cannot become a character come as they are.
func (s *Stream) Push(id int) ([]byte, error) {
	p, err := s.next(id)
	if err != nil {
		return nil, err
	}
	s.held = append(s.held, p...)
	n := whole(s.held)
	out := bytes.Clone(s.held[:n])
	s.held = append(s.held[:0], s.held[n:]...)
	return out, nil
}

// Flush gives what is left of a character that was never completed.
func (s *Stream) Flush() []byte {
	out := s.held
	s.held = nil
	return out
}

// next is the bytes that an id adds.
func (s *Stream) next(id int) ([]byte, error) {
	t := s.t
	if id < 0 || id >= len(t.pieces) {
		return nil, fmt.Errorf("id %d: outside the vocabulary of %d", id, len(t.pieces))
	}
	p := t.pieces[id]
	switch t.class[id] {
	case hole:
		return nil, fmt.Errorf("id %d: the vocabulary has no such id", id)
	case control:
		return nil, nil
	}
	if !s.first {
		return p, nil
	}
	piece := t.class[id] == normal || t.class[id] == literal
	s.first = false
	switch {
	case len(p) == 0:
		s.first = true
	case p[0] != ' ':
	case t.strip == stripText, t.strip == stripPiece && piece:
		p = p[1:]
	case t.strip == stripFirst && piece:
		p = bytes.TrimLeft(p, " ")
	case t.strip == stripPieces && piece:
		p = p[1:]
		s.first = len(p) == 0
	}
	return p, nil
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
