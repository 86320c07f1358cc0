package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// cursor walks the header of a file.
type cursor struct {
	file []byte
	at   int // never above len(file)
}

var errTruncated = errors.New("truncated")

// take returns the next n bytes.
func (c *cursor) take(n uint64) ([]byte, error) {
	if n > uint64(len(c.file)-c.at) {
		return nil, fmt.Errorf("%w: want %d bytes at byte %d, got %d", errTruncated, n, c.at, len(c.file)-c.at)
	}
	b := c.file[c.at : c.at+int(n) : c.at+int(n)]
	c.at += int(n)
	return b, nil
}

func (c *cursor) uint32() (uint32, error) {
	b, err := c.take(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (c *cursor) uint64() (uint64, error) {
	b, err := c.take(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// text reads a string: its length in 8 bytes and its bytes.
func (c *cursor) text() ([]byte, error) {
	n, err := c.uint64()
	if err != nil {
		return nil, err
	}
	return c.take(n)
}

// Parse reads the bytes of a file, which must stay as they are while the result is
// used.
func Parse(file []byte) (*File, error) {
	c := &cursor{file: file}
	f := &File{byName: map[string]int{}}
	tensors, pairs, err := f.header(c)
	if err != nil {
		return nil, err
	}
	f.Metadata.index = map[string]int{}
	for i := range pairs {
		if err := f.Metadata.read(c); err != nil {
			return nil, fmt.Errorf("metadata %d of %d: %w", i, pairs, err)
		}
	}
	if err := f.refuseSplit(); err != nil {
		return nil, err
	}
	offsets := []uint64{}
	for i := range tensors {
		offset, err := f.readInfo(c)
		if err != nil {
			return nil, fmt.Errorf("tensor %d of %d: %w", i, tensors, err)
		}
		offsets = append(offsets, offset)
	}
	if err := f.placeTensors(c, offsets); err != nil {
		return nil, err
	}
	return f, nil
}

// header reads what precedes the metadata.
func (f *File) header(c *cursor) (tensors, pairs uint64, err error) {
	head, err := c.take(headerBytes)
	if err != nil {
		return 0, 0, err
	}
	if string(head[:4]) != magic {
		return 0, 0, fmt.Errorf("not a GGUF file: want it to begin with %q, got %q", magic, head[:4])
	}
	version := binary.LittleEndian.Uint32(head[4:])
	switch {
	case version == 2 || version == 3:
		f.Version = int(version)
	case version != 0 && version&0xffff == 0:
		return 0, 0, errors.New("a big-endian GGUF file: convert it to little-endian with gguf-py's gguf_convert_endian")
	case version == 1:
		return 0, 0, errors.New("GGUF version 1: want 2 or 3; convert the model again with a newer llama.cpp")
	default:
		return 0, 0, fmt.Errorf("GGUF version: want 2 or 3, got %d", version)
	}
	tensors, pairs = binary.LittleEndian.Uint64(head[8:]), binary.LittleEndian.Uint64(head[16:])
	if tensors > maxTensors {
		return 0, 0, fmt.Errorf("tensor count: want at most %d, got %d", maxTensors, tensors)
	}
	if pairs > maxMetadata {
		return 0, 0, fmt.Errorf("metadata count: want at most %d, got %d", maxMetadata, pairs)
	}
	return tensors, pairs, nil
}

// refuseSplit refuses a shard of a model that is spread over several files.
func (f *File) refuseSplit() error {
	n, ok, err := f.Metadata.Int("split.count")
	if err != nil || !ok || n <= 1 {
		return err
	}
	return fmt.Errorf("split.count: one of %d shards; join them first with llama.cpp's llama-gguf-split --merge", n)
}

// readInfo reads the description of one tensor; its data are placed later.
func (f *File) readInfo(c *cursor) (offset uint64, err error) {
	name, err := c.text()
	if err != nil {
		return 0, err
	}
	if len(name) == 0 || len(name) > maxTensorName || !utf8.Valid(name) {
		return 0, fmt.Errorf("name: want 1 to %d bytes of UTF-8, got %q", maxTensorName, clip(name))
	}
	t := TensorInfo{Name: strings.Clone(string(name))}
	if _, ok := f.byName[t.Name]; ok {
		return 0, fmt.Errorf("%s: stands twice", t.Name)
	}
	dims, err := c.uint32()
	if err != nil {
		return 0, err
	}
	if dims < 1 || dims > maxDims {
		return 0, fmt.Errorf("%s: want 1 to %d dimensions, got %d", t.Name, maxDims, dims)
	}
	t.Shape = make([]int, dims)
	for i := range t.Shape {
		n, err := c.uint64()
		if err != nil {
			return 0, err
		}
		if n < 1 || n > math.MaxInt32 {
			return 0, fmt.Errorf("%s: dimension %d: want 1 to %d, got %d", t.Name, i, math.MaxInt32, n)
		}
		t.Shape[len(t.Shape)-1-i] = int(n)
	}
	kind, err := c.uint32()
	if err != nil {
		return 0, err
	}
	t.Type = Type(kind)
	if err := t.Type.check(); err != nil {
		return 0, fmt.Errorf("%s: %w", t.Name, err)
	}
	if row := t.Shape[len(t.Shape)-1]; row%t.Type.BlockSize() != 0 {
		return 0, fmt.Errorf("%s: rows of %s: want a multiple of %d elements, got %d", t.Name, t.Type, t.Type.BlockSize(), row)
	}
	if offset, err = c.uint64(); err != nil {
		return 0, err
	}
	f.byName[t.Name] = len(f.Tensors)
	f.Tensors = append(f.Tensors, t)
	return offset, nil
}

// placeTensors finds the tensors' data behind the header. As in ggml, each one begins
// where the one before it, padded to the alignment, ends; so none overlap.
func (f *File) placeTensors(c *cursor, offsets []uint64) error {
	alignment := uint64(usualAlignment)
	if n, ok, err := f.Metadata.Int(alignmentKey); err != nil {
		return err
	} else if ok {
		if n < 1 || n > 1<<20 || bits.OnesCount64(uint64(n)) != 1 {
			return fmt.Errorf("%s: want a power of two up to %d, got %d", alignmentKey, 1<<20, n)
		}
		alignment = uint64(n)
	}
	start := padded(uint64(c.at), alignment)
	if len(f.Tensors) > 0 && start > uint64(len(c.file)) {
		return fmt.Errorf("%w: want tensor data from byte %d, got a file of %d", errTruncated, start, len(c.file))
	}
	next := uint64(0) // relative to start; at most the file's size and a padding
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if offsets[i] != next {
			return fmt.Errorf("%s: offset: want %d, got %d", t.Name, next, offsets[i])
		}
		size, ok := t.size()
		if !ok || next > uint64(len(c.file))-start || size > uint64(len(c.file))-start-next {
			return fmt.Errorf("%s: %w: want %s data of %v at byte %d, got a file of %d", t.Name, errTruncated, t.Type, t.Shape, start+next, len(c.file))
		}
		from, to := start+next, start+next+size
		t.Data = c.file[from:to:to]
		next = padded(next+size, alignment)
	}
	return nil
}

// size is the bytes of a tensor's data, false where they do not fit in 63 bits.
func (t *TensorInfo) size() (uint64, bool) {
	n := uint64(t.RowBytes())
	for _, d := range t.Shape[:len(t.Shape)-1] {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		n = lo
	}
	return n, true
}

// padded rounds n, which is far from the largest number, up to a multiple.
func padded(n, multiple uint64) uint64 { return (n + multiple - 1) / multiple * multiple }

// clip shortens text for an error.
func clip[T string | []byte](text T) string {
	if len(text) > 60 {
		return string(text[:60]) + "..."
	}
	return string(text)
}
