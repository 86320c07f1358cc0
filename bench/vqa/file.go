package vqa

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mop/internal/files"
)

// maxFile bounds a file of questions, annotations or answers, in bytes.
const maxFile = 1 << 30

// id is the name of a question: a string or a number in the files. Both spellings of a
// number are the same name.
type id string

func (i *id) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*i = id(s)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(data, &n); err != nil {
		return fmt.Errorf("want a string or a number, got %s", data)
	}
	*i = id(n.String())
	return nil
}

// MarshalJSON writes a whole number as a number, as the files have it.
func (i id) MarshalJSON() ([]byte, error) {
	if s := string(i); s != "" && strings.Trim(s, "0123456789") == "" && len(s) < 16 && (s == "0" || s[0] != '0') {
		return []byte(s), nil
	}
	return json.Marshal(string(i))
}

// document is a file's contents in one of three forms: an object, or a list or lines of
// objects.
type document struct {
	path   string
	object map[string]json.RawMessage // nil = rows
	rows   []json.RawMessage
	lines  bool // the rows are lines
}

func readDocument(path string) (*document, error) {
	data, err := files.Read(path, maxFile)
	if err != nil {
		return nil, err
	}
	if err := files.CheckLFS(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d := &document{path: path}
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("%s: want questions or answers, got an empty file", path)
	case text[0] == '[':
		if err := json.Unmarshal(text, &d.rows); err != nil {
			return nil, fmt.Errorf("%s: want a list of JSON objects: %w", path, err)
		}
		return d, nil
	case json.Unmarshal(text, &d.object) == nil && !isRow(d.object):
		return d, nil
	}
	d.object, d.lines = nil, true
	for i, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if !json.Valid(line) || line[0] != '{' {
			return nil, fmt.Errorf("%s: line %d: want a JSON object", path, i+1)
		}
		d.rows = append(d.rows, line)
	}
	return d, nil
}

// isRow tells a file of one line from an object of questions by their names.
func isRow(object map[string]json.RawMessage) bool {
	_, question := object["question_id"]
	_, text := object["text"]
	_, answer := object["answer"]
	return question || text || answer
}

// each decodes the rows one by one. where names a row in errors.
func each[Row any](d *document, use func(where string, r Row) error) error {
	for i, raw := range d.rows {
		where := fmt.Sprintf("%s: row %d", d.path, i+1)
		var r Row
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("%s: %w", where, shortJSON(err))
		}
		if err := use(where, r); err != nil {
			return err
		}
	}
	return nil
}

// shortJSON leaves out the names of Go's types.
func shortJSON(err error) error {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		return fmt.Errorf("%s: got a %s", t.Field, t.Value)
	}
	return err
}
