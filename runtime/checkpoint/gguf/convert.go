package gguf

import (
	"errors"
	"fmt"
	"runtime"

	"mop/internal/files"
	"mop/runtime/checkpoint"
)

// chunkBytes is about how much of a converted tensor is in memory at a time.
const chunkBytes = 8 << 20

// convert gives a tensor's bytes in the source's type and row order, in chunks of
// whole rows. Of a padded tensor, which is larger than shape, it gives the upper left
// corner. Values that are not finite, or do not fit in the type, are an error.
func (s *Source) convert(name string, t TensorInfo, shape []int, write func([]byte) error) error {
	rows, columns := rows(shape)
	from := func(row int) int { return row }
	if dh := s.config.HeadDim; isRotated(name) {
		from = func(row int) int { return interleaved(row, dh) }
	}
	in, out := t.RowBytes(), columns*s.dtype.Size()
	atOnce := max(1, chunkBytes/out)
	chunk := make([]byte, min(rows, atOnce)*out)
	workers := runtime.GOMAXPROCS(0)
	failed := make([]error, workers)
	for start := 0; start < rows; start += atOnce {
		n := min(atOnce, rows-start)
		files.Each(workers, func(w int) {
			failed[w] = nil
			var buffer []float32
			for i := n * w / workers; i < n*(w+1)/workers; i++ {
				at := from(start + i)
				if err := convertRow(chunk[i*out:(i+1)*out], t.Data[at*in:(at+1)*in], t.Type, s.dtype, &buffer); err != nil {
					failed[w] = fmt.Errorf("%s: row %d: %w", t.Name, at, err)
					return
				}
			}
		})
		for _, err := range failed { // the first one names the first row
			if err != nil {
				return err
			}
		}
		if err := write(chunk[:n*out]); err != nil {
			return err
		}
		if s.File.mapped != nil {
			files.Release(t.Data[start*in : (start+n)*in])
		}
	}
	return nil
}

// convertRow converts one row, as much of it as dst holds; buffer is kept from row to
// row.
func convertRow(dst, src []byte, from Type, to checkpoint.DType, buffer *[]float32) error {
	if d, ok := from.DType(); ok && d == to {
		return checkFinite(dst[:copy(dst, src)], d)
	}
	if n := len(src) / from.BlockBytes() * from.BlockSize(); len(*buffer) != n {
		*buffer = make([]float32, n)
	}
	return errors.Join(Dequantize(*buffer, src, from), encode(dst, (*buffer)[:len(dst)/to.Size()], to))
}

// interleaved is the row of the file that holds a row of q or k. llama.cpp rotates
// the pairs (2i, 2i+1) of a head, Hugging Face (i, i+Dh/2).
func interleaved(row, dh int) int {
	i := row % dh
	return row - i + 2*(i%(dh/2)) + i/(dh/2)
}
