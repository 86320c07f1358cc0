package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// parseLlama2c reads llama2.c's tokenizer.bin: int32 longest piece, then for each id
// float32 score, int32 length and the bytes, to the end of the file. Ids 0, 1 and 2 are
// unknown, BOS and EOS. A space is put in front of the text. Characters that are not
// pieces become bytes (the unknown id, if the vocabulary has no bytes). Two neighbours
// merge if their joined text is a piece, the highest score first.
func parseLlama2c(data []byte) (*Tokenizer, error) {
	if len(data) < 4 {
		return nil, errors.New("not a tokenizer file")
	}
	longest := int(int32(binary.LittleEndian.Uint32(data)))
	if longest < 1 || longest > 1<<16 {
		return nil, fmt.Errorf("not a tokenizer file: a longest piece of %d bytes", longest)
	}
	var pieces []string
	var scores []float64
	for at := 4; at < len(data); {
		if len(data)-at < 8 {
			return nil, fmt.Errorf("id %d: truncated", len(pieces))
		}
		score := float64(math.Float32frombits(binary.LittleEndian.Uint32(data[at:])))
		n := int(int32(binary.LittleEndian.Uint32(data[at+4:])))
		at += 8
		if n < 0 || n > longest || n > len(data)-at {
			return nil, fmt.Errorf("id %d: a piece of %d bytes, where the longest is %d and %d are left", len(pieces), n, longest, len(data)-at)
		}
		if math.IsNaN(score) || math.IsInf(score, 0) {
			return nil, fmt.Errorf("id %d: score %v", len(pieces), score)
		}
		pieces, scores = append(pieces, string(data[at:at+n])), append(scores, score)
		at += n
	}
	if len(pieces) < 4 {
		return nil, fmt.Errorf("want at least 4 ids, got %d", len(pieces))
	}
	t := newTokenizer(len(pieces))
	m := &t.model
	t.normalizer.rules = []rule{{prepend: " "}}
	t.strip = stripPiece
	m.strict, m.unk = true, 0
	t.bos, t.eos = 1, []int{2}
	for id, p := range pieces {
		if id < 3 {
			t.pieces[id], t.class[id] = []byte(p), control
			if name := strings.TrimSpace(p); name != "" {
				t.raw.add(addedToken{text: name, id: id, special: true})
			}
			continue
		}
		if b, ok := byteOf(p); ok {
			if m.raw[b] >= 0 {
				return nil, fmt.Errorf("id %d: byte 0x%02x has id %d already", id, b, m.raw[b])
			}
			t.pieces[id], t.class[id], m.raw[b] = []byte{b}, byteKind, int32(id)
			continue
		}
		t.pieces[id], t.class[id] = []byte(p), normal
		if p == "" { // padding of the vocabulary
			continue
		}
		if other, ok := m.ids[p]; ok {
			return nil, fmt.Errorf("id %d: %q has id %d already", id, clip(p), other)
		}
		m.ids[p] = int32(id)
	}
	// llama2.c's search for the best merge starts with a score of -1e10.
	m.rankByScore(scores, func(id int) bool { return scores[id] <= -1e10 })
	m.cutAtSpaces(" ")
	return t, nil
}

// byteOf parses <0xNN>, the spelling of a byte piece.
func byteOf(text string) (byte, bool) {
	if len(text) != 6 || text[:3] != "<0x" || text[5] != '>' {
		return 0, false
	}
	b := 0
	for _, c := range text[3:5] {
		switch {
		case c >= '0' && c <= '9':
			b = b<<4 | int(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			b = b<<4 | int(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return byte(b), true
}
