package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// pair is a metadata value that is to be written: a string, bool, uint32, float32, or a
// slice of strings, int32 or float32.
type pair struct {
	key   string
	value any
}

// appendText appends a string: its length in 8 bytes and its bytes.
func appendText(b []byte, text string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(text))), text...)
}

func appendArray(b []byte, k kind, n int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(kindArray))
	b = binary.LittleEndian.AppendUint32(b, uint32(k))
	return binary.LittleEndian.AppendUint64(b, uint64(n))
}

// append appends the pair as the format stores it.
func (p pair) append(b []byte) []byte {
	b = appendText(b, p.key)
	tagged := func(k kind) []byte { return binary.LittleEndian.AppendUint32(b, uint32(k)) }
	switch v := p.value.(type) {
	case string:
		return appendText(tagged(kindString), v)
	case bool:
		if v {
			return append(tagged(kindBool), 1)
		}
		return append(tagged(kindBool), 0)
	case uint32:
		return binary.LittleEndian.AppendUint32(tagged(kindUint32), v)
	case float32:
		return binary.LittleEndian.AppendUint32(tagged(kindFloat32), math.Float32bits(v))
	case []string:
		b = appendArray(b, kindString, len(v))
		for _, text := range v {
			b = appendText(b, text)
		}
	case []int32:
		b = appendArray(b, kindInt32, len(v))
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, uint32(x))
		}
	case []float32:
		b = appendArray(b, kindFloat32, len(v))
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	default:
		panic(fmt.Sprintf("%s: metadata of type %T", p.key, p.value))
	}
	return b
}

// tensorSpec is a tensor that is to be written. Its data are produced once, in order.
type tensorSpec struct {
	name  string
	kind  Type
	shape []int // row-major [out, in]
	write func(io.Writer) error
}

// bytes is the size of the data.
func (t *tensorSpec) bytes() int64 {
	n := int64(t.shape[len(t.shape)-1] / t.kind.BlockSize() * t.kind.BlockBytes())
	for _, d := range t.shape[:len(t.shape)-1] {
		n *= int64(d)
	}
	return n
}

// encodeHeader is all that precedes the data of the tensors, padded to the alignment.
func encodeHeader(pairs []pair, tensors []tensorSpec) []byte {
	b := append([]byte{}, magic...)
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(pairs)))
	for _, p := range pairs {
		b = p.append(b)
	}
	offset := uint64(0)
	for i := range tensors {
		t := &tensors[i]
		b = appendText(b, t.name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.shape)))
		for d := len(t.shape) - 1; d >= 0; d-- {
			b = binary.LittleEndian.AppendUint64(b, uint64(t.shape[d]))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.kind))
		b = binary.LittleEndian.AppendUint64(b, offset)
		offset = padded(offset+uint64(t.bytes()), usualAlignment)
	}
	return append(b, make([]byte, padded(uint64(len(b)), usualAlignment)-uint64(len(b)))...)
}

// dataBytes is the size of all data with the padding between them.
func dataBytes(tensors []tensorSpec) int64 {
	n := int64(0)
	for i := range tensors {
		n += int64(padded(uint64(tensors[i].bytes()), usualAlignment))
	}
	return n
}

// writeTensors writes the data of all tensors. A tensor that is not as long as its
// shape says is an error.
func writeTensors(w io.Writer, tensors []tensorSpec) error {
	for i := range tensors {
		t := &tensors[i]
		c := &counter{w: w}
		if err := t.write(c); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if c.n != t.bytes() {
			return fmt.Errorf("%s: want %d bytes, got %d", t.name, t.bytes(), c.n)
		}
		gap := padded(uint64(c.n), usualAlignment) - uint64(c.n)
		if _, err := w.Write(bytes.Repeat([]byte{0}, int(gap))); err != nil {
			return err
		}
	}
	return nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
