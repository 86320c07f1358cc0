package jpeg

import (
	"errors"
	"io"
)

// lookBits is how many bits of a code are looked up at once. Longer codes are rare.
const lookBits = 9

// huffman decodes the codes of one table.
type huffman struct {
	look    [1 << lookBits]uint16 // length<<8 | value, 0 = the code is longer
	values  [256]uint8
	largest [17]int // by length: the largest code, -1 = none
	offset  [17]int // by length: index of a code's value minus the code
}

// newHuffman builds a table from the number of codes of each length and their values.
func newHuffman(counts []uint8, values []uint8) (*huffman, error) {
	h := &huffman{}
	copy(h.values[:], values)
	code, index := 0, 0
	for length := 1; length <= 16; length++ {
		n := int(counts[length-1])
		h.offset[length] = index - code
		h.largest[length] = -1
		if n > 0 {
			h.largest[length] = code + n - 1
		}
		if code+n > 1<<length {
			return nil, errors.New("a Huffman table has too many codes")
		}
		for range n {
			if length <= lookBits {
				first := code << (lookBits - length)
				for i := range 1 << (lookBits - length) {
					h.look[first+i] = uint16(length)<<8 | uint16(values[index])
				}
			}
			code++
			index++
		}
		code <<= 1
	}
	return h, nil
}

// bits reads the entropy-coded data of a scan, up to the next marker.
type bits struct {
	data []byte // from the scan's first byte to the end of the file
	at   int
	acc  uint64 // the next n bits are its lowest
	n    int
	err  error // of the first read beyond the data
}

var errScanEnds = errors.New("a scan's data ends too soon")

// need makes sure that there are n bits, at most 32.
func (b *bits) need(n int) bool {
	for b.n < n {
		if b.at >= len(b.data) {
			b.err = io.ErrUnexpectedEOF
			return false
		}
		c := b.data[b.at]
		if c == 0xff {
			if b.at+1 >= len(b.data) {
				b.err = io.ErrUnexpectedEOF
				return false
			}
			if b.data[b.at+1] != 0 { // a marker
				b.err = errScanEnds
				return false
			}
			b.at++
		}
		b.at++
		b.acc = b.acc<<8 | uint64(c)
		b.n += 8
	}
	return true
}

// take is the next n bits, 0 after an error.
func (b *bits) take(n int) int {
	if n == 0 || !b.need(n) {
		return 0
	}
	b.n -= n
	return int(b.acc>>b.n) & (1<<n - 1)
}

// signed is the next n bits as a coefficient: the lower half of the values is negative.
func (b *bits) signed(n int) int {
	v := b.take(n)
	if n > 0 && v < 1<<(n-1) {
		v -= 1<<n - 1
	}
	return v
}

// symbol decodes the next code, 0 after an error.
func (b *bits) symbol(h *huffman) int {
	if b.n >= lookBits || b.need(lookBits) {
		if e := h.look[int(b.acc>>(b.n-lookBits))&(1<<lookBits-1)]; e != 0 {
			b.n -= int(e >> 8)
			return int(e & 0xff)
		}
	} else if b.n > 0 { // the last bits of a scan
		b.err = nil
	}
	code := 0
	for length := 1; length <= 16; length++ {
		code = code<<1 | b.take(1)
		if b.err != nil {
			return 0
		}
		if code <= h.largest[length] {
			return int(h.values[(code+h.offset[length])&0xff])
		}
	}
	b.err = errors.New("a code is not in its Huffman table")
	return 0
}

// restart skips to the data behind a restart marker, which must come next.
func (b *bits) restart() error {
	b.acc, b.n = 0, 0
	for b.at+1 < len(b.data) && b.data[b.at] == 0xff && b.data[b.at+1] == 0xff {
		b.at++
	}
	if b.at+1 >= len(b.data) {
		return io.ErrUnexpectedEOF
	}
	if m := b.data[b.at+1]; b.data[b.at] != 0xff || m < 0xd0 || m > 0xd7 {
		return errors.New("want a restart marker")
	}
	b.at += 2
	return nil
}
