package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/nlpodyssey/safetensors"
)

// headerLimit bounds a safetensors header, in bytes, as the format does.
const headerLimit = 100_000_000

// metadataKey is the one name in a header that is no tensor.
const metadataKey = "__metadata__"

// headerEntry is one tensor of a safetensors header.
type headerEntry struct {
	name       string
	dtype      string
	shape      []uint64
	begin, end uint64 // bytes from the end of the header
}

// checkHeader refuses every safetensors file that two readers could take for
// different things, before the library sees it: names that stand twice, white
// space or null in front, gaps, overlaps, sizes that overflow, tensors not
// aligned to their elements, a length that is not exactly the file's.
func checkHeader(file []byte) error {
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
		if err := e.check(8+n, data); err != nil {
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

// check holds an entry to itself and to the data, which begins at byte start of
// the file and is that many bytes long.
func (e *headerEntry) check(start, data uint64) error {
	d, err := safetensors.ParseDType(e.dtype)
	if err != nil {
		return fmt.Errorf("unknown dtype %q", e.dtype)
	}
	// In 128 bits, so that no shape wraps around to a small size. A zero
	// anywhere makes the size zero, however large its other numbers.
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
	if at := start + e.begin; at%d.Size() != 0 {
		return fmt.Errorf("want a start aligned to %d bytes, got byte %d of the file", d.Size(), at)
	}
	return nil
}

// parseHeader reads a header by its grammar and by nothing wider: an object of
// {dtype, shape, data_offsets} and at most one __metadata__ of strings.
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

// reader takes JSON apart by what is expected next, so that nothing unexpected,
// deep or double is ever built.
type reader struct{ d *json.Decoder }

func newReader(text []byte) (*reader, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return &reader{d}, nil
}

func (p *reader) token() (json.Token, error) {
	t, err := p.d.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("truncated JSON")
	}
	return t, err
}

// delim takes one bracket.
func (p *reader) delim(want rune) error {
	t, err := p.token()
	if err != nil {
		return err
	}
	if t != json.Delim(want) {
		return fmt.Errorf("want %c, got %s", want, show(t))
	}
	return nil
}

// object calls value for every key, which must take the key's value; a key that
// stands twice is refused.
func (p *reader) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.d.More() {
		t, err := p.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return fmt.Errorf("want a key, got %s", show(t))
		}
		if seen[key] {
			return fmt.Errorf("%s stands twice", show(key))
		}
		seen[key] = true
		if err := value(key); err != nil {
			return fmt.Errorf("%s: %w", show(key), err)
		}
	}
	return p.delim('}')
}

func (p *reader) text() (string, error) {
	t, err := p.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("want a string, got %s", show(t))
	}
	return s, nil
}

// naturals takes an array of numbers written in digits alone.
func (p *reader) naturals() ([]uint64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	out := []uint64{}
	for p.d.More() {
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		n, ok := t.(json.Number)
		if !ok {
			return nil, fmt.Errorf("want whole numbers, got %s", show(t))
		}
		u, err := strconv.ParseUint(n.String(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("want whole numbers below 2^64, got %s", show(n.String()))
		}
		out = append(out, u)
	}
	return out, p.delim(']')
}

// skip takes any value.
func (p *reader) skip() error {
	var v json.RawMessage
	return p.d.Decode(&v)
}

// finish holds that nothing follows.
func (p *reader) finish() error {
	if t, err := p.d.Token(); err == nil {
		return fmt.Errorf("want the end, got %s", show(t))
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// show prints a token or a name in an error: one line, of bounded length.
func show(t any) string {
	s, ok := t.(string)
	if !ok {
		return fmt.Sprintf("%v", t)
	}
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	for _, r := range s {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return strconv.Quote(s)
		}
	}
	return s
}
