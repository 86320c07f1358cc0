package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// kind is the type of a metadata value.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

var kindNames = [...]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array", "uint64", "int64", "float64"}

func (k kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("type %d", uint32(k))
}

// size is the bytes of one value; 0 = they differ, or there is no such type.
func (k kind) size() int {
	switch k {
	case kindUint8, kindInt8, kindBool:
		return 1
	case kindUint16, kindInt16:
		return 2
	case kindUint32, kindInt32, kindFloat32:
		return 4
	case kindUint64, kindInt64, kindFloat64:
		return 8
	}
	return 0
}

// value is one metadata value, or an array of values. Its bytes are a view of the
// file and are decoded when they are asked for.
type value struct {
	key   string
	kind  kind // of an element
	array bool
	n     int // elements; 1 for a value that is no array
	raw   []byte
}

// describe names the type for errors.
func (v *value) describe() string {
	if v.array {
		return fmt.Sprintf("an array of %d %s", v.n, v.kind)
	}
	return v.kind.String()
}

// Metadata is the key-value pairs of a file.
type Metadata struct {
	values []value
	index  map[string]int
}

// Keys lists the keys in the order of the file.
func (m *Metadata) Keys() []string {
	out := make([]string, len(m.values))
	for i := range m.values {
		out[i] = m.values[i].key
	}
	return out
}

// Has reports whether a key is there.
func (m *Metadata) Has(key string) bool { return m.find(key) != nil }

func (m *Metadata) find(key string) *value {
	i, ok := m.index[key]
	if !ok {
		return nil
	}
	return &m.values[i]
}

// read adds the next pair.
func (m *Metadata) read(c *cursor) error {
	key, err := c.text()
	if err != nil {
		return err
	}
	if len(key) == 0 || len(key) > maxKeyBytes || !utf8.Valid(key) {
		return fmt.Errorf("key: want 1 to %d bytes of UTF-8, got %q", maxKeyBytes, clip(key))
	}
	v := value{key: string(key), n: 1}
	if m.Has(v.key) {
		return fmt.Errorf("%s: stands twice", clip(v.key))
	}
	if err := v.read(c); err != nil {
		return fmt.Errorf("%s: %w", clip(v.key), err)
	}
	m.index[v.key] = len(m.values)
	m.values = append(m.values, v)
	return nil
}

// read reads the type and the bytes of a value.
func (v *value) read(c *cursor) error {
	k, err := c.uint32()
	if err != nil {
		return err
	}
	v.kind = kind(k)
	count := uint64(1)
	if v.kind == kindArray {
		v.array = true
		if k, err = c.uint32(); err != nil {
			return err
		}
		v.kind = kind(k)
		if count, err = c.uint64(); err != nil {
			return err
		}
	}
	start := c.at
	switch size := uint64(v.kind.size()); {
	case v.kind == kindString:
		// Each string has at least 8 bytes, so the loop ends with the file.
		for range count {
			if _, err := c.text(); err != nil {
				return err
			}
		}
	case size == 0 && v.array && v.kind == kindArray:
		return fmt.Errorf("arrays of arrays are not supported")
	case size == 0:
		return fmt.Errorf("unknown value type %d", k)
	case count > uint64(len(c.file)-c.at)/size:
		return fmt.Errorf("%w: want an array of %d %s, got %d bytes", errTruncated, count, v.kind, len(c.file)-c.at)
	default:
		if _, err := c.take(count * size); err != nil {
			return err
		}
	}
	v.n, v.raw = int(count), c.file[start:c.at:c.at]
	if v.kind == kindBool {
		for i, b := range v.raw {
			if b > 1 {
				return fmt.Errorf("bool %d: want 0 or 1, got %d", i, b)
			}
		}
	}
	return nil
}

// integer is element i of an array of integers.
func (v *value) integer(i int) (int64, bool) {
	raw := v.raw[i*v.kind.size():]
	switch v.kind {
	case kindUint8:
		return int64(raw[0]), true
	case kindInt8:
		return int64(int8(raw[0])), true
	case kindUint16:
		return int64(binary.LittleEndian.Uint16(raw)), true
	case kindInt16:
		return int64(int16(binary.LittleEndian.Uint16(raw))), true
	case kindUint32:
		return int64(binary.LittleEndian.Uint32(raw)), true
	case kindInt32:
		return int64(int32(binary.LittleEndian.Uint32(raw))), true
	case kindUint64, kindInt64:
		x := binary.LittleEndian.Uint64(raw)
		return int64(x), v.kind == kindInt64 || x <= math.MaxInt64
	}
	return 0, false
}

// Int is an integer of any width; false where the key is absent.
func (m *Metadata) Int(key string) (int64, bool, error) {
	v := m.find(key)
	if v == nil {
		return 0, false, nil
	}
	if !v.array && v.kind != kindString {
		if x, ok := v.integer(0); ok {
			return x, true, nil
		}
	}
	return 0, false, fmt.Errorf("%s: want an integer, got %s", key, v.describe())
}

// Ints is an array of integers; a single one is an array of length 1. nil where the
// key is absent.
func (m *Metadata) Ints(key string) ([]int64, error) {
	v := m.find(key)
	if v == nil {
		return nil, nil
	}
	if v.kind.size() == 0 {
		return nil, fmt.Errorf("%s: want integers, got %s", key, v.describe())
	}
	out := make([]int64, v.n)
	for i := range out {
		x, ok := v.integer(i)
		if !ok {
			return nil, fmt.Errorf("%s: want integers, got %s", key, v.describe())
		}
		out[i] = x
	}
	return out, nil
}

// Float is a float32 or float64 that is finite; false where the key is absent.
func (m *Metadata) Float(key string) (float64, bool, error) {
	v := m.find(key)
	if v == nil {
		return 0, false, nil
	}
	if v.array || v.kind != kindFloat32 && v.kind != kindFloat64 {
		return 0, false, fmt.Errorf("%s: want a float, got %s", key, v.describe())
	}
	x := v.float(0)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, false, fmt.Errorf("%s: want a finite number, got %v", key, x)
	}
	return x, true, nil
}

func (v *value) float(i int) float64 {
	if v.kind == kindFloat32 {
		// The shortest decimal of the float32: 1e-05, not 9.999999747378752e-06.
		return shortest(math.Float32frombits(binary.LittleEndian.Uint32(v.raw[4*i:])))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(v.raw[8*i:]))
}

// Floats is an array of float32. nil where the key is absent.
func (m *Metadata) Floats(key string) ([]float32, error) {
	v := m.find(key)
	if v == nil {
		return nil, nil
	}
	if !v.array || v.kind != kindFloat32 {
		return nil, fmt.Errorf("%s: want an array of float32, got %s", key, v.describe())
	}
	out := make([]float32, v.n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.raw[4*i:]))
	}
	return out, nil
}

// Bool is a truth value; absent stands for an absent key.
func (m *Metadata) Bool(key string, absent bool) (bool, error) {
	v := m.find(key)
	if v == nil {
		return absent, nil
	}
	if v.array || v.kind != kindBool {
		return false, fmt.Errorf("%s: want a bool, got %s", key, v.describe())
	}
	return v.raw[0] != 0, nil
}

// Text is a string of UTF-8; "" where the key is absent.
func (m *Metadata) Text(key string) (string, error) {
	v := m.find(key)
	if v == nil {
		return "", nil
	}
	if v.array || v.kind != kindString {
		return "", fmt.Errorf("%s: want a string, got %s", key, v.describe())
	}
	text := v.raw[8:]
	if !utf8.Valid(text) {
		return "", fmt.Errorf("%s: want UTF-8, got %q", key, clip(text))
	}
	return string(text), nil
}

// Texts is an array of strings, of any bytes. nil where the key is absent.
func (m *Metadata) Texts(key string) ([]string, error) {
	v := m.find(key)
	if v == nil {
		return nil, nil
	}
	if !v.array || v.kind != kindString {
		return nil, fmt.Errorf("%s: want an array of strings, got %s", key, v.describe())
	}
	out := make([]string, 0, v.n)
	for raw := v.raw; len(raw) > 0; {
		n := 8 + int(binary.LittleEndian.Uint64(raw))
		out = append(out, string(raw[8:n]))
		raw = raw[n:]
	}
	return out, nil
}
