// Package sentencepiece reads the model files of SentencePiece: the vocabulary, what
// the trainer and the normalizer were configured to do, and the normalizer's table.
package sentencepiece

import (
	"fmt"
	"math"
)

// The values of model_type.
const (
	Unigram = 1
	BPE     = 2
	Word    = 3
	Char    = 4
)

// The types of a piece.
const (
	Normal      = 1
	Unknown     = 2
	Control     = 3
	UserDefined = 4
	Unused      = 5
	Byte        = 6
)

// Piece is an entry of the vocabulary. Its index is its token id.
type Piece struct {
	Text  string
	Score float32
	Type  uint64
}

// Model is what a SentencePiece model file says about tokens.
type Model struct {
	Pieces                  []Piece
	Type                    uint64 // model_type
	ByteFallback            bool
	TreatWhitespaceAsSuffix bool
	UnknownSurface          string
	BOS, EOS                string // the texts of their pieces
	CharsMap                []byte // precompiled_charsmap
	AddDummyPrefix          bool
	RemoveExtraWhitespaces  bool
	EscapeWhitespaces       bool
	Denormalizes            bool // has a denormalizer
}

// Read parses a model file. The numbers of the fields are those of
// sentencepiece_model.proto; what a file leaves out has the defaults given there.
func Read(data []byte) (*Model, error) {
	f := &Model{Type: Unigram, UnknownSurface: " \u2047 ", BOS: "<s>", EOS: "</s>", AddDummyPrefix: true, RemoveExtraWhitespaces: true, EscapeWhitespaces: true}
	err := fields(data, func(field int, _ uint64, b []byte) error {
		switch field {
		case 1: // pieces
			p := Piece{Type: Normal}
			if err := fields(b, func(field int, v uint64, b []byte) error {
				switch field {
				case 1:
					p.Text = string(b)
				case 2:
					p.Score = math.Float32frombits(uint32(v))
				case 3:
					p.Type = v
				}
				return nil
			}); err != nil {
				return fmt.Errorf("piece %d: %w", len(f.Pieces), err)
			}
			if p.Text == "" || math.IsNaN(float64(p.Score)) || math.IsInf(float64(p.Score), 0) {
				return fmt.Errorf("piece %d: want a text and a score, got %q and %v", len(f.Pieces), clip(p.Text), p.Score)
			}
			f.Pieces = append(f.Pieces, p)
		case 2: // trainer_spec
			return fields(b, func(field int, v uint64, b []byte) error {
				switch field {
				case 3:
					f.Type = v
				case 24:
					f.TreatWhitespaceAsSuffix = v != 0
				case 35:
					f.ByteFallback = v != 0
				case 44:
					f.UnknownSurface = string(b)
				case 46:
					f.BOS = string(b)
				case 47:
					f.EOS = string(b)
				}
				return nil
			})
		case 3: // normalizer_spec
			return fields(b, func(field int, v uint64, b []byte) error {
				switch field {
				case 2:
					f.CharsMap = b
				case 3:
					f.AddDummyPrefix = v != 0
				case 4:
					f.RemoveExtraWhitespaces = v != 0
				case 5:
					f.EscapeWhitespaces = v != 0
				}
				return nil
			})
		case 5: // denormalizer_spec
			return fields(b, func(field int, _ uint64, b []byte) error {
				f.Denormalizes = f.Denormalizes || field == 2 && len(b) > 0
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

// clip shortens text for an error.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
