package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
)

// valueOf is a Go value in a template. A json.RawMessage keeps the order of its keys.
func valueOf(v any) (jinja.Value, error) {
	switch v := v.(type) {
	case jinja.Value:
		return v, nil
	case json.RawMessage:
		d := json.NewDecoder(bytes.NewReader(v))
		d.UseNumber()
		return decode(d, 0)
	case []any:
		items := make([]jinja.Value, len(v))
		for i, item := range v {
			var err error
			if items[i], err = valueOf(item); err != nil {
				return items[i], err
			}
		}
		return jinja.NewList(items), nil
	}
	return jinja.FromGoValue(v), nil
}

// decode reads one JSON value.
func decode(d *json.Decoder, depth int) (jinja.Value, error) {
	token, err := d.Token()
	if err == nil && depth > maxNesting {
		err = errTooLarge
	}
	if err != nil {
		return jinja.Undefined(), err
	}
	switch token {
	case json.Delim('['):
		var items []jinja.Value
		for d.More() {
			item, err := decode(d, depth+1)
			if err != nil {
				return item, err
			}
			items = append(items, item)
		}
		_, err := d.Token()
		return jinja.NewList(items), err
	case json.Delim('{'):
		out := jinja.NewDict()
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return out, err
			}
			value, err := decode(d, depth+1)
			if err != nil {
				return out, err
			}
			out.AsDict().Set(key.(string), value)
		}
		_, err := d.Token()
		return out, err
	}
	return jinja.FromGoValue(token), nil
}

func isInteger(v jinja.Value) bool { return v.IsInt() || v.IsBool() }
func isNumber(v jinja.Value) bool  { return isInteger(v) || v.IsFloat() }

func asInteger(v jinja.Value) int64 {
	switch {
	case v.IsInt():
		return v.AsInt()
	case v.IsBool() && v.AsBool():
		return 1
	}
	return 0
}

func asFloat(v jinja.Value) float64 {
	if v.IsFloat() {
		return v.AsFloat()
	}
	return float64(asInteger(v))
}

// kindOf names the type of a value in an error.
func kindOf(v jinja.Value) string {
	switch {
	case v.IsUndefined():
		return "an undefined value"
	case v.IsNone():
		return "none"
	case v.IsBool():
		return "a boolean"
	case v.IsNumber():
		return "a number"
	case v.IsString():
		return "a text"
	case v.IsList():
		return "a list"
	case v.IsDict():
		return "a mapping"
	}
	return "a function"
}

// pythonText writes a value as Python's str does.
func pythonText(v jinja.Value) string {
	switch {
	case v.IsString():
		return v.AsString()
	case v.IsUndefined():
		return ""
	}
	var b strings.Builder
	represent(&b, v)
	return b.String()
}

// represent writes a value as Python's repr does.
func represent(b *strings.Builder, v jinja.Value) {
	switch {
	case v.IsUndefined():
		b.WriteString("Undefined")
	case v.IsNone():
		b.WriteString("None")
	case v.IsBool():
		b.WriteString(map[bool]string{true: "True", false: "False"}[v.AsBool()])
	case v.IsInt():
		b.WriteString(strconv.FormatInt(v.AsInt(), 10))
	case v.IsFloat():
		b.WriteString(pythonFloat(v.AsFloat(), "nan", "inf"))
	case v.IsString():
		representString(b, v.AsString())
	case v.IsList():
		b.WriteByte('[')
		for i, item := range v.AsList().Items {
			if i > 0 {
				b.WriteString(", ")
			}
			represent(b, item)
		}
		b.WriteByte(']')
	case v.IsDict():
		b.WriteByte('{')
		d := v.AsDict()
		for i, key := range d.Keys {
			if i > 0 {
				b.WriteString(", ")
			}
			representString(b, key)
			b.WriteString(": ")
			represent(b, d.Data[key])
		}
		b.WriteByte('}')
	default:
		b.WriteString(v.String())
	}
}

func representString(b *strings.Builder, s string) {
	mark := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		mark = '"'
	}
	short := map[rune]string{'\n': `\n`, '\r': `\r`, '\t': `\t`, '\\': `\\`}
	b.WriteByte(mark)
	for _, r := range s {
		switch {
		case short[r] != "":
			b.WriteString(short[r])
		case r == rune(mark):
			b.WriteByte('\\')
			b.WriteByte(mark)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(mark)
}

// pythonFloat writes a float with the fewest digits, and a point or an exponent.
func pythonFloat(x float64, nan, inf string) string {
	switch {
	case math.IsNaN(x):
		return nan
	case math.IsInf(x, 1):
		return inf
	case math.IsInf(x, -1):
		return "-" + inf
	}
	if a := math.Abs(x); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// json is the filter tojson as transformers defines it: json.dumps with all characters as
// they are and keys in their order.
func (b *budget) json(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error) {
	if err := b.weigh(args[0]); err != nil {
		return args[0], err
	}
	e := jsonEncoder{budget: b, item: ", ", key: ": ", indent: -1}
	if v, ok := named["indent"]; ok && !v.IsNone() {
		if !v.IsInt() || v.AsInt() < 0 || v.AsInt() > 32 {
			return v, errors.New("tojson: indent: want a number from 0 to 32")
		}
		e.indent, e.item = int(v.AsInt()), ","
	}
	if v, ok := named["separators"]; ok && !v.IsNone() {
		if !v.IsList() || v.AsList().Len() != 2 || !v.AsList().Get(0).IsString() || !v.AsList().Get(1).IsString() {
			return v, errors.New("tojson: separators: want two texts")
		}
		e.item, e.key = v.AsList().Get(0).AsString(), v.AsList().Get(1).AsString()
	}
	e.ascii, e.sorted = named["ensure_ascii"].IsTruthy(), named["sort_keys"].IsTruthy()
	if err := e.value(args[0], 0); err != nil {
		return args[0], fmt.Errorf("tojson: %w", err)
	}
	return jinja.NewString(e.out.String()), b.charge(e.out.Len())
}

type jsonEncoder struct {
	budget        *budget
	out           strings.Builder
	item, key     string // separators
	indent        int    // -1: on one line
	ascii, sorted bool
}

// line starts a new line where the text is indented.
func (e *jsonEncoder) line(depth int) {
	if e.indent >= 0 {
		e.out.WriteByte('\n')
		e.out.WriteString(strings.Repeat(" ", e.indent*depth))
	}
}

func (e *jsonEncoder) value(v jinja.Value, depth int) error {
	if e.out.Len() > maxSize {
		return errTooLarge
	}
	switch {
	case v.IsNone():
		e.out.WriteString("null")
	case v.IsBool():
		e.out.WriteString(strconv.FormatBool(v.AsBool()))
	case v.IsInt():
		e.out.WriteString(strconv.FormatInt(v.AsInt(), 10))
	case v.IsFloat():
		e.out.WriteString(pythonFloat(v.AsFloat(), "NaN", "Infinity"))
	case v.IsString():
		e.text(v.AsString())
	case v.IsList():
		return e.parts('[', ']', v.AsList().Len(), depth, func(i int) error { return e.value(v.AsList().Get(i), depth+1) })
	case v.IsDict():
		d := v.AsDict()
		keys := d.Keys
		if e.sorted {
			keys = slices.Sorted(slices.Values(keys))
		}
		return e.parts('{', '}', len(keys), depth, func(i int) error {
			e.text(keys[i])
			e.out.WriteString(e.key)
			return e.value(d.Data[keys[i]], depth+1)
		})
	default:
		return fmt.Errorf("want a value that JSON has, got %s", kindOf(v))
	}
	return nil
}

func (e *jsonEncoder) parts(open, end byte, n, depth int, part func(i int) error) error {
	e.out.WriteByte(open)
	for i := range n {
		if i > 0 {
			e.out.WriteString(e.item)
		}
		e.line(depth + 1)
		if err := part(i); err != nil {
			return err
		}
	}
	if n > 0 {
		e.line(depth)
	}
	e.out.WriteByte(end)
	return nil
}

func (e *jsonEncoder) text(s string) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}
	e.out.WriteByte('"')
	for _, r := range s {
		switch {
		case short[r] != "":
			e.out.WriteString(short[r])
		case r < 0x20 || e.ascii && r >= 0x7f && r < 0x10000:
			fmt.Fprintf(&e.out, `\u%04x`, r)
		case e.ascii && r >= utf8.RuneSelf:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&e.out, `\u%04x\u%04x`, high, low)
		default:
			e.out.WriteRune(r)
		}
	}
	e.out.WriteByte('"')
}
