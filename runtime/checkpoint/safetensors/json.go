package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// reader reads JSON token by token, by what is expected next. Nothing unexpected,
// deeply nested or repeated is ever built in memory.
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

// delim reads one bracket or brace.
func (p *reader) delim(want rune) error {
	t, err := p.token()
	if err != nil {
		return err
	}
	if t != json.Delim(want) {
		return fmt.Errorf("want %c, got %s", want, Printable(t))
	}
	return nil
}

// object calls value for every key; value must read the key's value. A repeated key
// is an error.
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
			return fmt.Errorf("want a key, got %s", Printable(t))
		}
		if seen[key] {
			return fmt.Errorf("%s stands twice", Printable(key))
		}
		seen[key] = true
		if err := value(key); err != nil {
			return fmt.Errorf("%s: %w", Printable(key), err)
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
		return "", fmt.Errorf("want a string, got %s", Printable(t))
	}
	return s, nil
}

// naturals reads an array of numbers that are written in digits alone.
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
			return nil, fmt.Errorf("want whole numbers, got %s", Printable(t))
		}
		u, err := strconv.ParseUint(n.String(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("want whole numbers below 2^64, got %s", Printable(n.String()))
		}
		out = append(out, u)
	}
	return out, p.delim(']')
}

// skip reads any value and drops it.
func (p *reader) skip() error {
	var v json.RawMessage
	return p.d.Decode(&v)
}

// finish checks that nothing follows.
func (p *reader) finish() error {
	if t, err := p.d.Token(); err == nil {
		return fmt.Errorf("want the end, got %s", Printable(t))
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Printable is a JSON token or a name for an error message: one line of bounded
// length.
func Printable(t any) string {
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
