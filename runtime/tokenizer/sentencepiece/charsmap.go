package sentencepiece

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// CharsMap is the table of a normalizer, precompiled_charsmap: the size of a trie in
// bytes as uint32, the trie as a double array of uint32 units, and the texts that its
// values point to, each ended by a NUL. The zero CharsMap maps nothing.
//
// A unit of the array: bits 0 to 7 are the label by which it is reached (bit 31 must
// be clear in a label), bit 8 says whether it has a value, and bits 10 and above are
// the offset to its children, times 256 if bit 9 is set. A value unit has bit 31 set.
type CharsMap struct {
	units []uint32
	texts []byte
}

// Empty reports whether the table maps nothing.
func (m *CharsMap) Empty() bool { return len(m.units) == 0 }

// ParseCharsMap reads a table.
func ParseCharsMap(data []byte) (CharsMap, error) {
	if len(data) == 0 {
		return CharsMap{}, nil
	}
	if len(data) < 4 {
		return CharsMap{}, errors.New("precompiled_charsmap: truncated")
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	data = data[4:]
	if size == 0 || size%4 != 0 || size >= uint64(len(data)) || data[len(data)-1] != 0 {
		return CharsMap{}, errors.New("precompiled_charsmap: the sizes do not fit the data")
	}
	m := CharsMap{units: make([]uint32, size/4), texts: data[size:]}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return m, nil
}

// Longest finds the longest entry that is a prefix of text: what it is mapped to, and
// its length; 0 = none.
func (m *CharsMap) Longest(text []byte) (mapped []byte, size int) {
	m.prefixes(text, func(to []byte, n int) bool { mapped, size = to, n; return true })
	return mapped, size
}

// Shortest finds the shortest entry that is a prefix of text.
func (m *CharsMap) Shortest(text []byte) (mapped []byte, size int) {
	m.prefixes(text, func(to []byte, n int) bool { mapped, size = to, n; return false })
	return mapped, size
}

// prefixes calls each for the entries that are prefixes of text, the shortest first,
// until it returns false. A trie that points outside itself ends the search.
func (m *CharsMap) prefixes(text []byte, each func(mapped []byte, size int) bool) {
	if len(m.units) == 0 {
		return
	}
	below := func(node uint32) uint32 {
		u := m.units[node]
		return node ^ (u>>10)<<((u&(1<<9))>>6)
	}
	node := below(0)
	for i, b := range text {
		if node ^= uint32(b); node >= uint32(len(m.units)) || m.units[node]&(1<<31|0xff) != uint32(b) {
			return
		}
		leaf := m.units[node]>>8&1 != 0
		if node = below(node); node >= uint32(len(m.units)) {
			return
		}
		if at := m.units[node] &^ (1 << 31); leaf && at < uint32(len(m.texts)) {
			text := m.texts[at:]
			if !each(text[:bytes.IndexByte(text, 0)], i+1) {
				return
			}
		}
	}
}
