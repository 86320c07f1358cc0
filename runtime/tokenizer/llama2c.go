package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// parseLlama2c reads llama2.c's tokenizer.bin: int32 longest piece, then per id
// float32 score, int32 length, bytes, to the end of the file. Ids 0, 1, 2 are
// unknown, BOS, EOS.
func parseLlama2c(data []byte) (*Tokenizer, error) {
	if len(data) < 4 {
		return nil, errors.New("not a tokenizer file")
	}
	longest := int(int32(binary.LittleEndian.Uint32(data)))
	if longest < 1 || longest > 1<<16 {
		return nil, fmt.Errorf("not a tokenizer file: longest piece of %d bytes", longest)
	}
	var pieces []string
	var scores []float64
	for at := 4; at < len(data); {
		if len(data)-at < 8 {
			return nil, fmt.Errorf("id %d: truncated", len(pieces))
		}
		score := math.Float32frombits(binary.LittleEndian.Uint32(data[at:]))
		n := int(int32(binary.LittleEndian.Uint32(data[at+4:])))
		at += 8
		if n < 0 || n > longest || n > len(data)-at {
			return nil, fmt.Errorf("id %d: piece of %d bytes, the longest is %d and %d are left", len(pieces), n, longest, len(data)-at)
		}
		if score != score {
			return nil, fmt.Errorf("id %d: the score is not a number", len(pieces))
		}
		pieces, scores = append(pieces, string(data[at:at+n])), append(scores, float64(score))
		at += n
	}
	if len(pieces) < 4 {
		return nil, fmt.Errorf("want at least 4 ids, got %d", len(pieces))
	}
	t := newTokenizer(len(pieces))
	t.prefix, t.unk, t.bos, t.eos = true, 0, 1, []int{2}
	for id, p := range pieces {
		if err := t.characterPiece(id, p, id < 3, -1); err != nil {
			return nil, err
		}
	}
	t.mergesFromScores(func(id int) float64 { return scores[id] })
	return t, nil
}

// characterPiece adds a piece of a character vocabulary: <0xNN> is a byte. A
// piece that stands twice keeps its first id.
func (t *Tokenizer) characterPiece(id int, text string, special bool, asByte int) error {
	var b int
	if n, err := fmt.Sscanf(text, "<0x%02X>", &b); asByte < 0 && err == nil && n == 1 && len(text) == 6 {
		asByte = b
	}
	switch {
	case special:
		t.class[id], t.pieces[id] = control, []byte(text)
	case asByte >= 0:
		t.class[id], t.pieces[id], t.raw[asByte] = byteKind, []byte{byte(asByte)}, id
	default:
		t.pieces[id] = []byte(text)
		if _, ok := t.ids[text]; !ok {
			t.ids[text] = id
		}
	}
	return nil
}
