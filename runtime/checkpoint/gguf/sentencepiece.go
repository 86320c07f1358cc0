package gguf

import (
	"errors"
	"fmt"

	"mop/runtime/config"
	"mop/runtime/tokenizer"
	"mop/runtime/tokenizer/sentencepiece"
)

// SentencePieceModel is the tokenizer.model that gives the ids of a tokenizer that was
// opened, a llama2.c file or SentencePiece's BPE as a tokenizer.json. Converters that find
// none invent scores, and their files then tokenize wrongly without a word. A tokenizer
// that has no such model is an error that wraps ErrTokenizer.
func SentencePieceModel(t *tokenizer.Tokenizer) ([]byte, error) {
	v, err := newVocabulary(t, &config.Config{VocabSize: t.Vocab(), BOS: -1})
	if err != nil {
		return nil, err
	}
	switch {
	case v.model != "llama":
		return nil, fmt.Errorf("%w: not SentencePiece's BPE", ErrTokenizer)
	case v.unknown < 0:
		return nil, fmt.Errorf("%w: it has no unknown token", ErrTokenizer)
	case len(v.notes) > 0: // what holds for llama.cpp's algorithm holds for SentencePiece's
		return nil, errors.Join(ErrTokenizer, errors.New(v.notes[0]))
	}
	m := sentencepiece.Model{Type: sentencepiece.BPE, ByteFallback: true, UnknownSurface: " \u2047 ", AddDummyPrefix: v.addSpace, EscapeWhitespaces: true}
	for id, text := range v.texts {
		m.Pieces = append(m.Pieces, sentencepiece.Piece{Text: text, Score: v.scores[id], Type: uint64(v.types[id])})
	}
	if v.bos >= 0 {
		m.BOS = v.texts[v.bos]
	}
	if len(v.ends) > 0 {
		m.EOS = v.texts[v.ends[0]]
	}
	return sentencepiece.Marshal(&m), nil
}
