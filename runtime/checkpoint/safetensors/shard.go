package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nlpodyssey/safetensors"
)

const (
	// SingleFile is the name of a checkpoint's only safetensors file.
	SingleFile = "model.safetensors"
	// IndexFile is the name of the index of a checkpoint of several shards.
	IndexFile = "model.safetensors.index.json"

	defaultShardBytes = 5_000_000_000 // the limit that Hugging Face's libraries use
)

// Spec describes a tensor that is to be written.
type Spec struct {
	Name  string
	DType string // "F32", "BF16", "I8", ...
	Shape []int
	Write func(w io.Writer) error // writes exactly the tensor's bytes
}

// elementBytes is the size of one element.
func (s Spec) elementBytes() int {
	d, err := safetensors.ParseDType(s.DType)
	if err != nil {
		return 1 // Spec's types are those that were read, or checkpoint's own
	}
	return int(d.Size())
}

// bytes is the tensor's stored size.
func (s Spec) bytes() int64 { return int64(Elements(s.Shape)) * int64(s.elementBytes()) }

// Shard is one safetensors file that is to be written.
type Shard struct {
	Name   string
	Header []byte // with its length in front
	Bytes  int64  // of the tensors

	tensors []Spec // in the file's order
}

// NewShard lays out one file. Wider types come first, so that every tensor is
// aligned to its elements.
func NewShard(name string, tensors []Spec) Shard {
	s := Shard{Name: name, tensors: slices.Clone(tensors)}
	for _, t := range tensors {
		s.Bytes += t.bytes()
	}
	slices.SortStableFunc(s.tensors, func(a, b Spec) int { return b.elementBytes() - a.elementBytes() })
	s.Header = header(s.tensors)
	return s
}

// Cut spreads tensors over as many files as the limit asks for, in bytes of
// tensors; 0 stands for 5e9. A tensor above the limit gets a file to itself.
func Cut(tensors []Spec, limit int64) []Shard {
	if limit <= 0 {
		limit = defaultShardBytes
	}
	var groups [][]Spec
	size := int64(0)
	for _, t := range tensors {
		if len(groups) == 0 || size+t.bytes() > limit {
			groups, size = append(groups, nil), 0
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], t)
		size += t.bytes()
	}
	var out []Shard
	for i, group := range groups {
		name := SingleFile
		if len(groups) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(groups))
		}
		out = append(out, NewShard(name, group))
	}
	return out
}

// header is the header of a safetensors file of these tensors, with its length in
// front. It is padded so that the first tensor starts at a multiple of 8 bytes.
func header(tensors []Spec) []byte {
	var b strings.Builder
	b.WriteString(`{"__metadata__":{"format":"pt"}`) // transformers wants to see the format
	at := int64(0)
	for _, t := range tensors {
		end := at + t.bytes()
		fmt.Fprintf(&b, `,%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`,
			quote(t.Name), t.DType, strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Shape), " ", ","), "[]"), at, end)
		at = end
	}
	b.WriteString("}")
	b.WriteString(strings.Repeat(" ", (8-b.Len()%8)%8))
	out := binary.LittleEndian.AppendUint64(nil, uint64(b.Len()))
	return append(out, b.String()...)
}

// quote is a string as JSON.
func quote(s string) string {
	text, _ := json.Marshal(s) // a string can always be marshalled
	return string(text)
}

// TensorError is a failure to write one tensor.
type TensorError struct {
	Name string
	Err  error
}

func (e *TensorError) Error() string { return e.Name + ": " + e.Err.Error() }
func (e *TensorError) Unwrap() error { return e.Err }

// Write writes the file. Each tensor must produce exactly its bytes; a failure of
// one is a *TensorError.
func (s Shard) Write(w io.Writer) error {
	if _, err := w.Write(s.Header); err != nil {
		return err
	}
	for _, t := range s.tensors {
		c := countingWriter{w: w, left: t.bytes()}
		err := t.Write(&c)
		if err == nil {
			err = c.err
		}
		if err == nil && c.left != 0 {
			err = fmt.Errorf("want %d bytes for %v %v, got %d", t.bytes(), t.DType, t.Shape, t.bytes()-c.left)
		}
		if err != nil {
			return &TensorError{t.Name, err}
		}
	}
	return nil
}

// countingWriter passes on as many bytes as a tensor has, and no more.
type countingWriter struct {
	w    io.Writer
	left int64
	err  error // the first one; it counts even if the tensor's Write ignores it
}

func (c *countingWriter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if int64(len(p)) > c.left {
		c.err = fmt.Errorf("%d bytes too many", int64(len(p))-c.left)
		return 0, c.err
	}
	n, err := c.w.Write(p)
	c.left -= int64(n)
	c.err = err
	return n, err
}
