package config

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// fields removes known keys from a JSON object and keeps the first error.
type fields struct {
	raw map[string]any
	err error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// take removes a key and returns its value; null counts as absent.
func (f *fields) take(key string) (any, bool) {
	v, ok := f.raw[key]
	delete(f.raw, key)
	return v, ok && v != nil
}

// has reports whether a key is present and not null.
func (f *fields) has(key string) bool { return f.raw[key] != nil }

// num is a finite number.
func (f *fields) num(key string, absent float64) float64 {
	v, ok := f.take(key)
	if !ok {
		return absent
	}
	x, ok := number(v)
	if !ok {
		f.fail("%s: want a number, got %s", key, show(v))
		return absent
	}
	return x
}

// size is a whole number from low to maxSize. If absent is below low, the key must be
// present.
func (f *fields) size(key string, absent, low int) int {
	v, ok := f.take(key)
	if !ok {
		if absent < low {
			f.fail("%s: absent", key)
		}
		return absent
	}
	x, ok := number(v)
	if !ok || x != math.Trunc(x) || x < float64(low) || x > maxSize {
		f.fail("%s: want a whole number from %d to %d, got %s", key, low, maxSize, show(v))
		return max(absent, low)
	}
	return int(x)
}

func (f *fields) str(key, absent string) string {
	v, ok := f.take(key)
	if !ok {
		return absent
	}
	s, ok := v.(string)
	if !ok {
		f.fail("%s: want a string, got %s", key, show(v))
	}
	return s
}

func (f *fields) boolean(key string, absent bool) bool {
	v, ok := f.take(key)
	if !ok {
		return absent
	}
	b, ok := v.(bool)
	if !ok {
		f.fail("%s: want true or false, got %s", key, show(v))
	}
	return b
}

// object is a JSON object, nil where absent.
func (f *fields) object(key string) map[string]any {
	v, ok := f.take(key)
	if !ok {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		f.fail("%s: want an object, got %s", key, show(v))
	}
	return m
}

// ids is one token id or a list of them; -1 stands for no id. It is absent where the key
// is absent, but not where it is null.
func (f *fields) ids(key string, absent ...int) []int {
	v, there := f.raw[key]
	delete(f.raw, key)
	if !there {
		return absent
	}
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []int
	for _, v := range list {
		x, ok := number(v)
		if ok && x == -1 {
			continue
		}
		if !ok || x != math.Trunc(x) || x < 0 || x > maxSize {
			f.fail("%s: want ids from 0 to %d, got %s", key, maxSize, show(v))
			return nil
		}
		out = append(out, int(x))
	}
	return out
}

// rest fails if a key is left.
func (f *fields) rest() {
	for _, key := range sortedKeys(f.raw) {
		f.fail("unknown key %s", show(key))
	}
}

// number is a finite JSON number's value.
func number(v any) (float64, bool) {
	switch x := v.(type) {
	case json.Number:
		y, err := x.Float64()
		return y, err == nil
	case float64:
		return x, !math.IsInf(x, 0) && !math.IsNaN(x)
	}
	return 0, false
}

// ExtraNumber is a number among the keys of Extra.
func (c *Config) ExtraNumber(key string) (float64, bool) { return number(c.Extra[key]) }

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
