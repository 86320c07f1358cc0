package constrain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// members is a JSON object whose members keep their order. Other values are nil, bool, string,
// json.Number and []any.
type members struct {
	names  []string
	values map[string]any
}

// maxDepth bounds how deeply a schema is nested.
const maxDepth = 64

// parseJSON reads one JSON value.
func parseJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("ends inside a JSON value")
		}
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON value")
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := &members{values: map[string]any{}}
		for d.More() {
			t, err := d.Token()
			if err != nil {
				return nil, err
			}
			name := t.(string) // of a member, or the decoder returns an error
			if _, again := o.values[name]; again {
				return nil, fmt.Errorf("the key %q is repeated", name)
			}
			if o.values[name], err = parseValue(d, depth+1); err != nil {
				return nil, err
			}
			o.names = append(o.names, name)
		}
		_, err := d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return t, nil
}

// compact writes a value without white space.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(v) // has no way to fail
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// MarshalJSON writes the members in their order.
func (m *members) MarshalJSON() ([]byte, error) {
	var list []string
	for _, name := range m.names {
		list = append(list, compact(name)+":"+compact(m.values[name]))
	}
	return []byte("{" + strings.Join(list, ",") + "}"), nil
}

// typeOf is the JSON type of a value, "integer" for a number without a fraction.
func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if _, ok := integerOf(v); ok || !strings.ContainsAny(v.String(), ".eE") {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}
