package tokenizer

import (
	"errors"
	"fmt"
	"math"
)

// Types of a SentencePiece piece.
const (
	pieceNormal  = 1
	pieceUnknown = 2
	pieceControl = 3
	pieceUser    = 4
	pieceUnused  = 5
	pieceByte    = 6
)

// piece of a SentencePiece model.
type piece struct {
	text  string
	score float64
	kind  uint64
}

// pieceModel is what decides ids in a SentencePiece model file.
type pieceModel struct {
	pieces       []piece
	kind         uint64 // model_type
	byteFallback bool
	suffix       bool // treat_whitespace_as_suffix
	surface      string
	bos, eos     string
	name         string // of the normaliser
	chars        []byte // precompiled_charsmap
	prefix       bool
	squeeze      bool
	escape       bool
	denormalizes bool
}

// readPieceModel walks the protobuf message. Numbers are the fields' of
// sentencepiece_model.proto; what a file leaves out has the defaults given there.
func readPieceModel(data []byte) (*pieceModel, error) {
	f := &pieceModel{kind: 1, surface: " \u2047 ", bos: "<s>", eos: "</s>", prefix: true, squeeze: true, escape: true}
	err := fields(data, func(field int, _ uint64, b []byte) error {
		switch field {
		case 1: // pieces
			p := piece{kind: pieceNormal}
			if err := fields(b, func(field int, v uint64, b []byte) error {
				switch field {
				case 1:
					p.text = string(b)
				case 2:
					p.score = float64(math.Float32frombits(uint32(v)))
				case 3:
					p.kind = v
				}
				return nil
			}); err != nil {
				return fmt.Errorf("piece %d: %w", len(f.pieces), err)
			}
			if p.text == "" || math.IsNaN(p.score) || math.IsInf(p.score, 0) {
				return fmt.Errorf("piece %d: want a text and a score, got %q and %v", len(f.pieces), clip(p.text), p.score)
			}
			f.pieces = append(f.pieces, p)
		case 2: // trainer_spec
			return fields(b, func(field int, v uint64, b []byte) error {
				switch field {
				case 3:
					f.kind = v
				case 24:
					f.suffix = v != 0
				case 35:
					f.byteFallback = v != 0
				case 44:
					f.surface = string(b)
				case 46:
					f.bos = string(b)
				case 47:
					f.eos = string(b)
				}
				return nil
			})
		case 3: // normalizer_spec
			return fields(b, func(field int, v uint64, b []byte) error {
				switch field {
				case 1:
					f.name = string(b)
				case 2:
					f.chars = b
				case 3:
					f.prefix = v != 0
				case 4:
					f.squeeze = v != 0
				case 5:
					f.escape = v != 0
				}
				return nil
			})
		case 5: // denormalizer_spec
			return fields(b, func(field int, _ uint64, b []byte) error {
				f.denormalizes = f.denormalizes || field == 2 && len(b) > 0
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("not a SentencePiece model: %w", err)
	}
	return f, nil
}

// parseSentencePiece reads a SentencePiece model of type BPE.
func parseSentencePiece(data []byte) (*Tokenizer, error) {
	f, err := readPieceModel(data)
	if err != nil {
		return nil, err
	}
	names := map[uint64]string{1: "unigram", 2: "bpe", 3: "word", 4: "char"}
	switch {
	case f.kind != 2:
		return nil, fmt.Errorf("SentencePiece model_type: want bpe (2), got %s (%d)", names[f.kind], f.kind)
	case f.suffix:
		return nil, errors.New("SentencePiece treat_whitespace_as_suffix: not supported")
	case f.denormalizes:
		return nil, errors.New("SentencePiece denormalizer: not supported")
	}
	chars, err := parseCharsMap(f.chars)
	if err != nil {
		return nil, err
	}
	t := newTokenizer(len(f.pieces))
	m := &t.model
	m.fuseUnk, m.control = true, map[string]int32{}
	t.normalizer.piece = &pieceNormalizer{chars: chars, prefix: f.prefix, squeeze: f.squeeze, escape: f.escape}
	switch {
	case f.squeeze:
		t.strip = stripPieces
	case f.prefix:
		t.strip = stripPiece
	}
	for id, p := range f.pieces {
		if err := t.addPiece(id, p, f); err != nil {
			return nil, fmt.Errorf("piece %d: %w", id, err)
		}
	}
	if m.unk < 0 {
		return nil, errors.New("SentencePiece model: no unknown piece")
	}
	if f.byteFallback {
		for b, id := range m.raw {
			if id < 0 {
				return nil, fmt.Errorf("byte_fallback: byte 0x%02x has no piece", b)
			}
		}
	}
	delete(m.control, f.pieces[m.unk].text) // its text is as unknown as any other
	scores := make([]float64, len(f.pieces))
	for id, p := range f.pieces {
		scores[id] = p.score
	}
	m.rankByScore(scores, func(int) bool { return false })
	if f.escape {
		m.cutAtSpaces(meta)
	} else {
		m.cutAtSpaces(" ")
	}
	return t, nil
}

// addPiece adds one piece of a SentencePiece model.
func (t *Tokenizer) addPiece(id int, p piece, f *pieceModel) error {
	m := &t.model
	into := m.control
	t.pieces[id], t.class[id] = []byte(unescape(p.text)), normal
	switch p.kind {
	case pieceNormal:
		into = m.ids
	case pieceUser:
		into = m.ids
		a := addedToken{text: p.text, id: id}
		m.user.add(a)
		t.normalizer.piece.user.add(a)
	case pieceUnused:
		into = m.ids
		if m.unused == nil {
			m.unused = make([]bool, len(t.pieces))
		}
		m.unused[id] = true
	case pieceUnknown:
		if m.unk >= 0 {
			return fmt.Errorf("%q is unknown, and so is piece %d", clip(p.text), m.unk)
		}
		m.unk = id
		t.pieces[id], t.class[id] = []byte(f.surface), unknown
		t.raw.add(addedToken{text: p.text, id: id, special: true})
	case pieceControl:
		t.class[id] = control
		t.raw.add(addedToken{text: p.text, id: id, special: true})
		if p.text == f.bos {
			t.bos = id
		}
		if p.text == f.eos {
			t.eos = append(t.eos, id)
		}
	case pieceByte:
		b, ok := byteOf(p.text)
		if !ok || !f.byteFallback {
			return fmt.Errorf("want a byte of a model with byte_fallback, got %q and %v", clip(p.text), f.byteFallback)
		}
		t.pieces[id], t.class[id], m.raw[b] = []byte{b}, byteKind, int32(id)
	default:
		return fmt.Errorf("%q: unknown type %d", clip(p.text), p.kind)
	}
	if other, ok := into[p.text]; ok {
		return fmt.Errorf("%q is piece %d already", clip(p.text), other)
	}
	into[p.text] = int32(id)
	return nil
}
