package tokenizer

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// charsMap is SentencePiece's precompiled_charsmap: uint32 size of a trie in
// bytes, the trie as a double array of uint32 units, then the texts that its
// values point to, each ended by a NUL. The zero charsMap maps nothing.
//
// A unit of the array: bits 0..7 the label by which it is reached (bit 31 must be
// clear in a label), bit 8 whether a value hangs below it, bits 10.. the offset
// to its children, times 256 if bit 9 is set. A value unit has bit 31 set.
type charsMap struct {
	units []uint32
	texts []byte
}

func parseCharsMap(data []byte) (charsMap, error) {
	if len(data) == 0 {
		return charsMap{}, nil
	}
	if len(data) < 4 {
		return charsMap{}, errors.New("precompiled_charsmap: truncated")
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	data = data[4:]
	if size == 0 || size%4 != 0 || size >= uint64(len(data)) || data[len(data)-1] != 0 {
		return charsMap{}, errors.New("precompiled_charsmap: a broken table")
	}
	m := charsMap{units: make([]uint32, size/4), texts: data[size:]}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return m, nil
}

// longest finds the longest entry that text begins with: what it is mapped to,
// and its length, 0 = none. A trie that points outside itself ends the search.
func (m *charsMap) longest(text []byte) (mapped []byte, size int) {
	if len(m.units) == 0 {
		return nil, 0
	}
	below := func(node uint32) uint32 {
		u := m.units[node]
		return node ^ (u>>10)<<((u&(1<<9))>>6)
	}
	node := below(0)
	for i, b := range text {
		if node ^= uint32(b); node >= uint32(len(m.units)) || m.units[node]&(1<<31|0xff) != uint32(b) {
			break
		}
		leaf := m.units[node]>>8&1 != 0
		if node = below(node); node >= uint32(len(m.units)) {
			break
		}
		if at := m.units[node] &^ (1 << 31); leaf && at < uint32(len(m.texts)) {
			text := m.texts[at:]
			mapped, size = text[:bytes.IndexByte(text, 0)], i+1
		}
	}
	return mapped, size
}
