package gguf

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"

	"mop/internal/files"
	"mop/runtime/checkpoint"
)

// matrix is a tensor of the file that is written: a stored tensor in its upper left
// corner, and the constant fill around it.
type matrix struct {
	name    string // in the file
	kind    Type
	shape   []int
	from    string // the stored tensor's name; "" = none
	stored  []int  // its shape
	headDim int    // of q and k, whose rows are permuted; 0 = as stored
	fill    float32
}

// isRotated reports whether a tensor's rows are rotated by RoPE.
func isRotated(name string) bool {
	return strings.HasSuffix(name, string(checkpoint.WQ)+".weight") || strings.HasSuffix(name, string(checkpoint.WK)+".weight")
}

// rows is the number of rows of a shape, whose last dimension is the columns.
func rows(shape []int) (rows, columns int) {
	rows = 1
	for _, d := range shape[:len(shape)-1] {
		rows *= d
	}
	return rows, shape[len(shape)-1]
}

// halves is the inverse of interleaved: the row of Hugging Face's layout that a row of
// the file holds.
func halves(row, dh int) int {
	i := row % dh
	return row - i + i%2*(dh/2) + i/2
}

// mappedSource is a source whose data stay on disk: what is needed next is read ahead, and
// what is not needed any more is given back.
type mappedSource interface {
	Prefetch(data []byte)
	Release(data []byte)
}

// write writes the tensor, a few megabytes of whole rows at a time.
func (m *matrix) write(ctx context.Context, w io.Writer, src checkpoint.Source) error {
	var in checkpoint.Tensor
	if m.from != "" {
		var err error
		if in, err = src.Tensor(m.from); err != nil {
			return err
		}
	}
	n, columns := rows(m.shape)
	rowBytes := columns / m.kind.BlockSize() * m.kind.BlockBytes()
	atOnce := max(1, chunkBytes/rowBytes)
	chunk := make([]byte, min(n, atOnce)*rowBytes)
	workers := runtime.GOMAXPROCS(0)
	failed := make([]error, workers)
	onDisk, _ := src.(mappedSource)
	part := func(start int) []byte { // of the stored data, for the rows of a chunk
		size := len(in.Data) / max(1, product(m.stored)/m.stored[len(m.stored)-1])
		return in.Data[min(start*size, len(in.Data)):min((start+atOnce)*size, len(in.Data))]
	}
	if m.from == "" {
		onDisk = nil
	}
	if onDisk != nil {
		onDisk.Prefetch(part(0))
	}
	for start := 0; start < n; start += atOnce {
		if onDisk != nil {
			onDisk.Prefetch(part(start + atOnce))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		count := min(atOnce, n-start)
		files.Each(workers, func(k int) {
			failed[k] = m.convert(chunk, rowBytes, start, count*k/workers, count*(k+1)/workers, &in)
		})
		for _, err := range failed { // the first one names the first row
			if err != nil {
				return err
			}
		}
		if _, err := w.Write(chunk[:count*rowBytes]); err != nil {
			return err
		}
		if onDisk != nil {
			onDisk.Release(part(start))
		}
	}
	return nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// convert converts the rows first to last of a chunk that begins at row start.
func (m *matrix) convert(chunk []byte, rowBytes, start, first, last int, in *checkpoint.Tensor) error {
	_, columns := rows(m.shape)
	have, width := 0, 0 // of the stored tensor
	if m.from != "" {
		have, width = rows(m.stored)
	}
	size := width * in.DType.Size()
	values := make([]float32, columns)
	for i := first; i < last; i++ {
		at := start + i
		if m.headDim > 0 {
			at = halves(at, m.headDim)
		}
		dst := chunk[i*rowBytes : (i+1)*rowBytes]
		var src []byte
		if at < have {
			src = in.Data[at*size : (at+1)*size]
		}
		if err := m.convertRow(dst, src, in.DType, values); err != nil {
			return fmt.Errorf("%s: row %d: %w", m.from, at, err)
		}
	}
	return nil
}

// convertRow writes one row: the stored elements, and the constant behind them.
func (m *matrix) convertRow(dst, src []byte, d checkpoint.DType, values []float32) error {
	if to, ok := m.kind.DType(); ok && to == d && (m.fill == 0 || len(src) == len(dst)) {
		n := copy(dst, src)
		clear(dst[n:])
		return checkFinite(src, d)
	}
	n := len(src) / d.Size()
	widen(values[:n], src, d)
	for i := n; i < len(values); i++ {
		values[i] = m.fill
	}
	if m.kind == Q8_0 {
		return quantizeQ8_0(dst, values)
	}
	to, _ := m.kind.DType()
	return encode(dst, values, to)
}

// widen converts stored elements to float32.
func widen(dst []float32, src []byte, d checkpoint.DType) {
	switch d {
	case checkpoint.F32:
		widenF32(dst, src)
	case checkpoint.F16:
		widenF16(dst, src)
	default:
		widenBF16(dst, src)
	}
}

// floats is a tensor of float32 values.
func floats(name string, values []float32) tensorSpec {
	return tensorSpec{name: name, kind: F32, shape: []int{len(values)}, write: func(w io.Writer) error {
		b := make([]byte, 0, 4*len(values))
		for _, x := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		_, err := w.Write(b)
		return err
	}}
}
