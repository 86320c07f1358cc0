package tokenizer

import (
	"errors"
	"fmt"

	"mop/runtime/tokenizer/sentencepiece"
)

// parseSentencePiece reads a SentencePiece model of type BPE or unigram.
func parseSentencePiece(data []byte) (*Tokenizer, error) {
	f, err := sentencepiece.Read(data)
	if err != nil {
		return nil, err
	}
	names := map[uint64]string{sentencepiece.Word: "word", sentencepiece.Char: "char"}
	switch {
	case f.Type != sentencepiece.BPE && f.Type != sentencepiece.Unigram:
		return nil, fmt.Errorf("SentencePiece model_type: want unigram (1) or bpe (2), got %s (%d)", names[f.Type], f.Type)
	case f.TreatWhitespaceAsSuffix:
		return nil, errors.New("SentencePiece treat_whitespace_as_suffix: not supported")
	case f.Denormalizes:
		return nil, errors.New("SentencePiece denormalizer: not supported")
	}
	chars, err := sentencepiece.ParseCharsMap(f.CharsMap)
	if err != nil {
		return nil, err
	}
	t := newTokenizer(len(f.Pieces))
	m := &t.model
	m.fuseUnk, m.control = true, map[string]int32{}
	t.normalizer.piece = &pieceNormalizer{chars: chars, prefix: f.AddDummyPrefix, squeeze: f.RemoveExtraWhitespaces, escape: f.EscapeWhitespaces}
	switch {
	case f.RemoveExtraWhitespaces:
		t.strip = stripPieces
	case f.AddDummyPrefix:
		t.strip = stripPiece
	}
	for id, p := range f.Pieces {
		if err := t.addPiece(id, p, f); err != nil {
			return nil, fmt.Errorf("piece %d: %w", id, err)
		}
	}
	if m.unk < 0 {
		return nil, errors.New("SentencePiece model: no unknown piece")
	}
	if f.ByteFallback {
		for b, id := range m.raw {
			if id < 0 {
				return nil, fmt.Errorf("byte_fallback: byte 0x%02x has no piece", b)
			}
		}
	}
	delete(m.control, f.Pieces[m.unk].Text) // the text of the unknown piece is unknown too
	if f.Type == sentencepiece.Unigram {
		t.unigram = sentencePieceUnigram(f)
		return t, nil
	}
	scores := make([]float64, len(f.Pieces))
	for id, p := range f.Pieces {
		scores[id] = float64(p.Score)
	}
	m.rankByScore(scores, func(int) bool { return false })
	if f.EscapeWhitespaces {
		m.cutAtSpaces(meta)
	} else {
		m.cutAtSpaces(" ")
	}
	return t, nil
}

// addPiece adds one piece of a SentencePiece model.
func (t *Tokenizer) addPiece(id int, p sentencepiece.Piece, f *sentencepiece.Model) error {
	m := &t.model
	into := m.control
	t.pieces[id], t.class[id] = []byte(unescape(p.Text)), normal
	switch p.Type {
	case sentencepiece.Normal:
		into = m.ids
	case sentencepiece.UserDefined:
		into = m.ids
		a := addedToken{text: p.Text, id: id}
		m.user.add(a)
		t.normalizer.piece.user.add(a)
	case sentencepiece.Unused:
		into = m.ids
		if m.unused == nil {
			m.unused = make([]bool, len(t.pieces))
		}
		m.unused[id] = true
	case sentencepiece.Unknown:
		if m.unk >= 0 {
			return fmt.Errorf("%q is unknown, and so is piece %d", clip(p.Text), m.unk)
		}
		m.unk = id
		t.pieces[id], t.class[id] = []byte(f.UnknownSurface), unknown
		t.raw.add(addedToken{text: p.Text, id: id, special: true})
	case sentencepiece.Control:
		t.class[id] = control
		t.raw.add(addedToken{text: p.Text, id: id, special: true})
		if p.Text == f.BOS {
			t.bos = id
		}
		if p.Text == f.EOS {
			t.eos = append(t.eos, id)
		}
	case sentencepiece.Byte:
		b, ok := byteOf(p.Text)
		if !ok || !f.ByteFallback {
			return fmt.Errorf("want a byte of a model with byte_fallback, got %q and %v", clip(p.Text), f.ByteFallback)
		}
		t.pieces[id], t.class[id], m.raw[b] = []byte{b}, byteKind, int32(id)
	default:
		return fmt.Errorf("%q: unknown type %d", clip(p.Text), p.Type)
	}
	if other, ok := into[p.Text]; ok {
		return fmt.Errorf("%q is piece %d already", clip(p.Text), other)
	}
	into[p.Text] = int32(id)
	return nil
}
