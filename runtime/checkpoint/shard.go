package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// shard is one safetensors file that is to be written.
type shard struct {
	name    string
	header  []byte       // its length in front
	tensors []TensorSpec // in the file's order
	size    int64        // of the tensors, in bytes
}

// bytes is the tensor's stored size.
func (s TensorSpec) bytes() int64 {
	if s.other != nil {
		return int64(len(s.other.data))
	}
	return int64(elements(s.Shape)) * int64(s.DType.Size())
}

// typeName is safetensors' name of the tensor's type.
func (s TensorSpec) typeName() string {
	if s.other != nil {
		return s.other.dtype
	}
	return s.DType.String()
}

// unit is the size of an element in bytes, to which a tensor is aligned.
func (s TensorSpec) unit() int {
	if s.other != nil {
		if n := elements(s.Shape); n > 0 {
			return len(s.other.data) / n
		}
		return 1
	}
	return s.DType.Size()
}

// cut spreads tensors over as many files as the limit, in bytes, asks for; a
// tensor above the limit gets a file of its own.
func cut(tensors []TensorSpec, limit int64) []shard {
	if limit <= 0 {
		limit = shardBytes
	}
	var out []shard
	for _, t := range tensors {
		if len(out) == 0 || out[len(out)-1].size+t.bytes() > limit {
			out = append(out, shard{})
		}
		last := &out[len(out)-1]
		last.tensors = append(last.tensors, t)
		last.size += t.bytes()
	}
	for i := range out {
		s := &out[i]
		s.name = singleFile
		if len(out) > 1 {
			s.name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(out))
		}
		// Wider types first, so that every tensor is aligned to its elements.
		slices.SortStableFunc(s.tensors, func(a, b TensorSpec) int { return b.unit() - a.unit() })
		s.header = headerText(s.tensors)
	}
	return out
}

// headerText is the header of a safetensors file of these tensors, its length in
// front, padded so that the first tensor starts at a multiple of 8 bytes.
func headerText(tensors []TensorSpec) []byte {
	var b strings.Builder
	b.WriteString(`{"__metadata__":{"format":"pt"}`) // transformers asks for the format
	at := int64(0)
	for _, t := range tensors {
		end := at + t.bytes()
		fmt.Fprintf(&b, `,%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`,
			quote(t.Name), t.typeName(), strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Shape), " ", ","), "[]"), at, end)
		at = end
	}
	b.WriteString("}")
	b.WriteString(strings.Repeat(" ", (8-b.Len()%8)%8))
	out := binary.LittleEndian.AppendUint64(nil, uint64(b.Len()))
	return append(out, b.String()...)
}

// quote is a string as JSON.
func quote(s string) string {
	text, _ := json.Marshal(s) // a string always has a text
	return string(text)
}

// write writes the file; each tensor must produce exactly its bytes.
func (s shard) write(w io.Writer) error {
	if _, err := w.Write(s.header); err != nil {
		return err
	}
	for _, t := range s.tensors {
		c := counter{w: w, left: t.bytes()}
		err := t.Write(&c)
		if err == nil {
			err = c.err
		}
		if err == nil && c.left != 0 {
			err = fmt.Errorf("want %d bytes for %v %v, got %d", t.bytes(), t.typeName(), t.Shape, t.bytes()-c.left)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", place(t.Name), err)
		}
	}
	return nil
}

// counter passes on as many bytes as a tensor has, and no more.
type counter struct {
	w    io.Writer
	left int64
	err  error // the first, so that one that the tensor's Write drops is not lost
}

func (c *counter) Write(p []byte) (int, error) {
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

// indexText is the index of a model of several files, nil for one.
func indexText(shards []shard) ([]byte, error) {
	if len(shards) < 2 {
		return nil, nil
	}
	type metadata struct {
		TotalSize int64 `json:"total_size"` // of the tensors, in bytes
	}
	index := struct {
		Metadata  metadata   `json:"metadata"`
		WeightMap shardIndex `json:"weight_map"`
	}{WeightMap: shardIndex{}}
	for _, s := range shards {
		index.Metadata.TotalSize += s.size
		for _, t := range s.tensors {
			index.WeightMap[t.Name] = s.name
		}
	}
	text, err := json.MarshalIndent(index, "", "  ")
	return append(text, '\n'), err
}
