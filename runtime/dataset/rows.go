package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"mop/runtime/chat"
)

// File is a data file, and how its rows are read. All commands read a file alike:
//
//   - rows of JSON, an array or one object after another, are recognised by the
//     contents, with and without a byte order mark;
//   - any other text is one document, or several with a separator between them.
//
// A row is {instruction, input, output} as in Alpaca, {instruction, context, response} as
// in Dolly, {prompt, completion}, {text}, {messages: [{role, content}]}, or
// {conversations: [{from, value}]} as in ShareGPT, or {question, choices, answer} as in
// ScienceQA, whose problems.json is read too. A string is a text.
type File struct {
	Path      string
	Separator string // between the documents of a text; "" = the text is one
	Special   bool   // text of special tokens gives their ids
	EOS       []int  // tokens that end a text, the one that is taught first; nil = the tokenizer's
	// Template renders rows of messages. It is called once, and only for such rows.
	Template func() (*chat.Template, error)
}

// SkippedRow is a row that gives no example, prompt or document.
type SkippedRow struct {
	Row    int    `json:"row"` // from 1; in JSON lines, the line
	Reason string `json:"reason"`
}

// LogSkipped warns of the rows of a file that were skipped.
func LogSkipped(path string, skipped []SkippedRow) {
	if len(skipped) == 0 {
		return
	}
	var first []string
	for _, s := range skipped[:min(5, len(skipped))] {
		first = append(first, fmt.Sprintf("row %d: %s", s.Row, s.Reason))
	}
	slog.Warn("rows skipped", "file", path, "count", len(skipped), "first", strings.Join(first, "; "))
}

// row is one row of a file. One of its forms is set.
type row struct {
	number int // from 1; in JSON lines, the line

	text []byte

	instruction, input, output string // instruction is not empty

	prompt, completion string // completion is not empty
	isPrompt           bool

	messages []chat.Message
	learned  int // index of the first message whose tokens may have labels
}

// table is the rows of a file.
type table struct {
	rows    []row
	skipped []SkippedRow
	isText  bool // the file is text, not JSON
	whole   bool // it is one text
}

// skip is the reason why a row cannot be used.
type skip string

func (s skip) Error() string { return string(s) }

// read calls use with the rows of a file. Texts are valid until use returns.
func (f *File) read(use func(t *table) error) error {
	return view(f.Path, func(data []byte) error {
		t := &table{skipped: []SkippedRow{}}
		isJSON, err := looksJSON(f.Path, data)
		switch {
		case err != nil:
		case isJSON:
			err = t.readJSON(data)
		default:
			t.readText(data, f.Separator)
		}
		if err == nil {
			err = use(t)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		return nil
	})
}

// none is the error of a file without a row that can be used.
func (t *table) none(what string) error {
	if len(t.skipped) == 0 {
		return fmt.Errorf("no %s in it", what)
	}
	return fmt.Errorf("%w, %d skipped: row %d: %s", errNone, len(t.skipped), t.skipped[0].Row, t.skipped[0].Reason)
}

// add appends a row, or records why it is skipped.
func (t *table) add(n int, r row, err error) error {
	if err != nil {
		return t.record(n, err)
	}
	r.number = n
	t.rows = append(t.rows, r)
	return nil
}

// record records that a row is skipped. It returns an error that is no reason for that.
func (t *table) record(n int, err error) error {
	var s skip
	if !errors.As(err, &s) {
		return err
	}
	t.skipped = append(t.skipped, SkippedRow{n, string(s)})
	return nil
}

// readText reads the documents of a text. Lines may end with CR LF.
func (t *table) readText(data []byte, separator string) {
	if bytes.Contains(data, []byte("\r\n")) {
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	}
	t.isText, t.whole = true, separator == ""
	if t.whole {
		t.rows = []row{{number: 1, text: data}}
		return
	}
	parts := bytes.Split(data, []byte(strings.ReplaceAll(separator, "\r\n", "\n")))
	for i, part := range parts {
		part = bytes.TrimSpace(part)
		if len(part) == 0 && i == len(parts)-1 && i > 0 {
			continue // nothing follows the last separator
		}
		t.rows = append(t.rows, row{number: i + 1, text: part})
	}
}

// looksJSON reports whether a file is rows of JSON. A file with a name of JSON has to be.
// Any other file is, if it begins with a row that is read here: nobody wants the markup
// of rows as a text.
func looksJSON(path string, data []byte) (bool, error) {
	text := bytes.TrimSpace(data)
	isJSON := len(text) > 0 && (text[0] == '{' || text[0] == '[')
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json", ".jsonl", ".ndjson", ".jsonlines":
		if len(text) > 0 && !isJSON && text[0] != '"' {
			first, _, _ := bytes.Cut(text, []byte("\n"))
			var value json.RawMessage
			if json.Unmarshal(first, &value) == nil {
				return true, nil // rows that are numbers are skipped one by one
			}
			if filepath.Ext(path) == ".json" {
				return false, fmt.Errorf("want rows of JSON, got %s", clip(string(first)))
			}
		}
		return true, nil
	}
	if !isJSON {
		return false, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if text[0] == '[' {
		_, _ = d.Token()
	}
	var first json.RawMessage
	if !d.More() || d.Decode(&first) != nil || first[0] != '{' {
		return false, nil
	}
	_, err := parseRow(first)
	return err == nil, nil
}

// listKeys are keys under which a JSON object may have the rows.
var listKeys = []string{"data", "rows", "train", "examples"}

// readJSON reads rows of JSON: an array, one value on each line, or values one after
// another.
func (t *table) readJSON(data []byte) error {
	text := bytes.TrimSpace(data)
	if len(text) == 0 {
		return nil
	}
	switch lines := firstLineIsJSON(text); {
	case text[0] == '[':
		rows, err := topLevel(text)
		if err != nil && !lines {
			return jsonError(text, err)
		}
		if err == nil {
			return t.readArray(rows)
		}
	case text[0] == '{' && !lines:
		err := t.readValues(text)
		if err == nil || !someLineIsJSON(text) {
			return err
		}
		t.rows, t.skipped = nil, t.skipped[:0]
	}
	n := 0
	for line := range bytes.Lines(data) {
		if n++; len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		r, err := parseRow(line)
		if err := t.add(n, r, err); err != nil {
			return err
		}
	}
	return nil
}

// topLevel returns the elements of a JSON array.
func topLevel(text []byte) (rows []json.RawMessage, err error) {
	err = json.Unmarshal(text, &rows)
	return rows, err
}

// firstLineIsJSON reports whether the first line is a whole JSON value, and others follow.
func firstLineIsJSON(text []byte) bool {
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	return json.Valid(first) && len(bytes.TrimSpace(rest)) > 0
}

// someLineIsJSON reports whether one of the lines is a JSON object.
func someLineIsJSON(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 2 && line[0] == '{' && json.Valid(line) {
			return true
		}
	}
	return false
}

func (t *table) readArray(rows []json.RawMessage) error {
	for i, element := range rows {
		r, err := parseRow(element)
		if err := t.add(i+1, r, err); err != nil {
			return err
		}
	}
	return nil
}

// readValues reads objects that stand one after another. A single object may hold the
// rows in a list.
func (t *table) readValues(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	for n := 1; ; n++ {
		var value json.RawMessage
		err := d.Decode(&value)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !bytes.Contains(text, []byte("\n")):
			return t.add(n, row{}, skip("not valid JSON"))
		case err != nil:
			return jsonError(text, err)
		}
		if n == 1 && !d.More() {
			if list := rowsInside(value); list != nil {
				return t.readArray(list)
			}
		}
		r, err := parseRow(value)
		if err := t.add(n, r, err); err != nil {
			return err
		}
	}
}

// rowsInside returns the list of rows that an object holds, nil = it is a row itself.
func rowsInside(value json.RawMessage) []json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil {
		return nil
	}
	for _, key := range listKeys {
		if rows, err := topLevel(object[key]); err == nil && rows != nil {
			return rows
		}
	}
	return scienceProblems(object)
}

// jsonError says where a text is not JSON.
func jsonError(data []byte, err error) error {
	at := int64(len(data))
	if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
		at = min(s.Offset, at)
	}
	before := data[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	problem := strings.TrimPrefix(err.Error(), "json: ")
	if errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(problem, "unexpected end") {
		return fmt.Errorf("not valid JSON: it ends in line %d, inside a value", line)
	}
	return fmt.Errorf("not valid JSON: line %d, column %d: %s", line, at-int64(bytes.LastIndexByte(before, '\n')+1), problem)
}
