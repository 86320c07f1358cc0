package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/nlpodyssey/safetensors"

	"mop/internal/files"
)

// headerLimit is the format's own bound on a header, in bytes.
const headerLimit = 100_000_000

// metadataKey is the one key of a header that does not name a tensor.
const metadataKey = "__metadata__"

// headerEntry is one tensor of a safetensors header.
type headerEntry struct {
	name       string
	dtype      string
	shape      []uint64
	begin, end uint64 // bytes from the end of the header
}

// checkHeader refuses, before the library sees it, every safetensors file that two
// readers could understand differently: repeated names, white space or null at
// the beginning, gaps, overlaps, sizes that overflow, and a length that is not exactly
// the file's. Tensors need not be aligned to their elements: the format does not ask for
// it, and some writers do not pad the header.
func checkHeader(file []byte) error {
	if err := files.CheckLFS(file); err != nil {
		return err
	}
	if len(file) < 8 {
		return fmt.Errorf("want at least 8 bytes, got %d: truncated", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > headerLimit {
		return fmt.Errorf("header: want at most %d bytes, got %d", headerLimit, n)
	}
	if n > uint64(len(file))-8 {
		return fmt.Errorf("header: want %d bytes, got %d: truncated", n, len(file)-8)
	}
	entries, err := parseHeader(file[8 : 8+n])
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	data := uint64(len(file)) - 8 - n
	for _, e := range entries {
		if err := e.check(data); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	slices.SortFunc(entries, func(a, b headerEntry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := uint64(0)
	for _, e := range entries {
		switch {
		case e.begin < at:
			return fmt.Errorf("%s: overlaps another tensor: want it to begin at byte %d, got %d", e.name, at, e.begin)
		case e.begin > at:
			return fmt.Errorf("%s: a gap before it: want it to begin at byte %d, got %d", e.name, at, e.begin)
		}
		at = e.end
	}
	if at != data {
		return fmt.Errorf("want %d bytes of tensors, got %d", at, data)
	}
	return nil
}

// check compares an entry's offsets with its type and shape, and with the data, which
// are that many bytes long.
func (e *headerEntry) check(data uint64) error {
	if strings.HasPrefix(e.dtype, "F8_") || strings.HasPrefix(e.dtype, "F4") || strings.HasPrefix(e.dtype, "F6_") {
		return fmt.Errorf("dtype %s: quantised weights are not supported, give the model in F32, F16 or BF16", e.dtype)
	}
	d, err := safetensors.ParseDType(e.dtype)
	if err != nil {
		return fmt.Errorf("unknown dtype %q", e.dtype)
	}
	// The products have 128 bits, so that no shape wraps around to a small size.
	// A zero anywhere makes the size zero, however large the other numbers are.
	size := d.Size()
	if slices.Contains(e.shape, 0) {
		size = 0
	}
	for _, s := range e.shape {
		hi, lo := bits.Mul64(size, s)
		if hi != 0 {
			return fmt.Errorf("shape %v overflows", e.shape)
		}
		size = lo
	}
	if e.begin > e.end || e.end > data {
		return fmt.Errorf("want data_offsets within [0 %d], got [%d %d]", data, e.begin, e.end)
	}
	if e.end-e.begin != size {
		return fmt.Errorf("want %d bytes for %s %v, got %d", size, e.dtype, e.shape, e.end-e.begin)
	}
	return nil
}

// parseHeader reads a header by the format's grammar: an object whose values are
// {dtype, shape, data_offsets}, and at most one __metadata__ object of strings.
func parseHeader(header []byte) ([]headerEntry, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, errors.New("want an object, { first")
	}
	p, err := newReader(header)
	if err != nil {
		return nil, err
	}
	var out []headerEntry
	err = p.object(func(name string) error {
		if name == metadataKey {
			return p.object(func(string) error { _, err := p.text(); return err })
		}
		e := headerEntry{name: name}
		var offsets []uint64
		keys := 0
		err := p.object(func(key string) (err error) {
			keys++
			switch key {
			case "dtype":
				e.dtype, err = p.text()
			case "shape":
				e.shape, err = p.naturals()
			case "data_offsets":
				offsets, err = p.naturals()
			default:
				err = errors.New("unknown key")
			}
			return err
		})
		if err != nil {
			return err
		}
		if keys != 3 {
			return errors.New("want dtype, shape and data_offsets")
		}
		if len(offsets) != 2 {
			return fmt.Errorf("want two data_offsets, got %d", len(offsets))
		}
		e.begin, e.end = offsets[0], offsets[1]
		out = append(out, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, p.finish()
}
