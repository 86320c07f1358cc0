package tokenizer

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// strip says which spaces at the beginning of a text decoding removes: those that
// encoding put there.
type strip uint8

const (
	stripNone   strip = iota
	stripPiece        // one space of the first piece, unless that is a byte
	stripText         // one space, also of a byte
	stripFirst        // all spaces of the first piece (Metaspace)
	stripPieces       // one space of each piece, until there is text (SentencePiece without extra spaces)
)

// Decode returns the bytes of a text. Control tokens give nothing, and the space that
// encoding puts in front is removed. An id outside the vocabulary is an error.
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

// Piece returns the bytes that an id stands for, also those of a control token, which is
// not part of a decoded text; nil where the vocabulary has no such id.
func (t *Tokenizer) Piece(id int) []byte {
	if !t.Has(id) {
		return nil
	}
	return t.pieces[id]
}

// Text returns the bytes that an id adds to a text behind other text; nil where it adds none,
// as a control token.
func (t *Tokenizer) Text(id int) []byte {
	if !t.Has(id) || t.class[id] == control || t.class[id] == unknown {
		return nil
	}
	return t.pieces[id]
}

// Stream decodes a text token by token.
type Stream struct {
	t     *Tokenizer
	first bool   // at the beginning, where spaces are removed
	held  []byte // the beginning of an incomplete character
}

// Stream starts decoding behind the id after; -1 = at the beginning of the text.
func (t *Tokenizer) Stream(after int) *Stream {
	return &Stream{t: t, first: after < 0 || after < len(t.class) && t.class[after] == control}
}

// Push returns the bytes that an id completes: never a part of a character that later
// ids may complete. Bytes that cannot become a character are returned unchanged.
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

// Flush returns what is left of a character that was never completed.
func (s *Stream) Flush() []byte {
	out := s.held
	s.held = nil
	return out
}

// next returns the bytes that an id adds.
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

// whole is the length of b without an incomplete character at its end that more bytes
// could complete.
func whole(b []byte) int {
	for i := max(0, len(b)-utf8.UTFMax+1); i < len(b); i++ {
		if utf8.RuneStart(b[i]) && !utf8.FullRune(b[i:]) {
			return i
		}
	}
	return len(b)
}
