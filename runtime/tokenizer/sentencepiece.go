package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// parseSentencePiece reads a SentencePiece model: a protobuf message with the
// pieces (field 1: piece 1, score 2, type 3), the trainer's settings (field 2:
// model_type 3) and the normaliser's (field 3: name 1, add_dummy_prefix 3,
// remove_extra_whitespaces 4).
func parseSentencePiece(data []byte) (*Tokenizer, error) {
	type piece struct {
		text  string
		score float64
		kind  uint64
	}
	var pieces []piece
	model, prefix, squeeze, normaliser := uint64(1), true, true, ""
	err := fields(data, func(field int, v uint64, b []byte) error {
		switch field {
		case 1:
			p := piece{kind: 1}
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
				return fmt.Errorf("piece %d: %w", len(pieces), err)
			}
			if p.text == "" || p.score != p.score {
				return fmt.Errorf("piece %d: want a text and a score, got %q and %v", len(pieces), p.text, p.score)
			}
			pieces = append(pieces, p)
		case 2:
			return fields(b, func(field int, v uint64, b []byte) error {
				if field == 3 {
					model = v
				}
				return nil
			})
		case 3:
			return fields(b, func(field int, v uint64, b []byte) error {
				switch field {
				case 1:
					normaliser = string(b)
				case 3:
					prefix = v != 0
				case 4:
					squeeze = v != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("not a SentencePiece model: %w", err)
	}
	if model != 2 {
		return nil, fmt.Errorf("model_type: want BPE (2), got %d", model)
	}
	if normaliser != "identity" || squeeze {
		return nil, fmt.Errorf("normaliser: want identity that keeps white space, got %q", normaliser)
	}
	t := newTokenizer(len(pieces))
	t.prefix, t.fuseUnk = prefix, true
	for id, p := range pieces {
		asByte := -1
		switch p.kind {
		case 1: // normal
		case 2: // unknown
			t.unk = id
		case 3: // control
			t.named(p.text, id)
			t.added = append(t.added, addedToken{[]byte(p.text), id, true})
		case 4: // user defined
			t.added = append(t.added, addedToken{[]byte(unescape(p.text)), id, false})
			t.pieces[id], t.class[id] = []byte(unescape(p.text)), literal
			continue
		case 6: // byte
			if _, err := fmt.Sscanf(p.text, "<0x%02X>", &asByte); err != nil {
				return nil, fmt.Errorf("piece %d: want a byte, got %q", id, p.text)
			}
		default:
			return nil, fmt.Errorf("piece %d: unknown type %d", id, p.kind)
		}
		if p.kind == 1 {
			asByte = -1
			t.pieces[id] = []byte(unescape(p.text))
			if _, ok := t.ids[unescape(p.text)]; ok {
				return nil, fmt.Errorf("piece %d: %q stands twice", id, p.text)
			}
			t.ids[unescape(p.text)] = id
			continue
		}
		if err := t.characterPiece(id, p.text, p.kind != 6, asByte); err != nil {
			return nil, err
		}
	}
	t.mergesFromScores(func(id int) float64 { return pieces[id].score })
	return t, nil
}

// fields walks a protobuf message: v holds a number, b a string or a message.
func fields(data []byte, each func(field int, v uint64, b []byte) error) error {
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return errors.New("bad field tag")
		}
		data = data[n:]
		var v uint64
		var b []byte
		switch tag & 7 {
		case 0:
			if v, n = binary.Uvarint(data); n <= 0 {
				return errors.New("bad number")
			}
			data = data[n:]
		case 1, 5:
			size := 8
			if tag&7 == 5 {
				size = 4
			}
			if len(data) < size {
				return errors.New("truncated")
			}
			var word [8]byte
			copy(word[:], data[:size])
			v, data = binary.LittleEndian.Uint64(word[:]), data[size:]
		case 2:
			size, n := binary.Uvarint(data)
			if n <= 0 || size > uint64(len(data)-n) {
				return errors.New("truncated")
			}
			b, data = data[n:n+int(size)], data[n+int(size):]
		default:
			return fmt.Errorf("wire type %d", tag&7)
		}
		if err := each(int(tag>>3), v, b); err != nil {
			return err
		}
	}
	return nil
}
