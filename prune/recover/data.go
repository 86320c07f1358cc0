package recover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mop/runtime/tokenizer"
)

// Example is one row of the data as ids; those from First on are targets.
type Example struct {
	Row   int // in the file, from 1: what a person finds it by
	IDs   []int
	First int // >= 1
}

// Targets is how many ids the loss is taken on.
func (e Example) Targets() int { return len(e.IDs) - e.First }

// Skipped is a row that no example could be made of.
type Skipped struct {
	Row    int    `json:"row"` // from 1
	Reason string `json:"reason"`
}

// row is one entry of a data file: an instruction with its response, or a text.
type row struct {
	Instruction, Input, Output, Text *string
}

// Read makes examples of a file, each of at most length ids:
//
//   - .json: an array of {instruction, input, output}, Alpaca's form;
//   - .jsonl: a line each of the same, or {"text": ..};
//   - another file: the parts between separators, trimmed, or all of it.
//
// Prompt and response are tokenised apart, each with BOS in front and cut to
// length; EOS follows the response where it still fits; then both together are
// cut. The targets are what follows the prompt, its BOS included. Of a text, which
// ends with EOS, all ids but the first BOS are targets; one that is longer than
// length becomes several examples, each with BOS in front.
//
// Rows that are malformed, empty, or without a target are returned apart.
func Read(path, separator string, t *tokenizer.Tokenizer, length int) ([]Example, []Skipped, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if length < 2 {
		return nil, nil, fmt.Errorf("length: want at least 2 ids, got %d", length)
	}
	if t.BOS() < 0 {
		return nil, nil, errors.New("the tokenizer has no BOS id")
	}
	var out []Example
	bad := []Skipped{}
	add := func(n int, r row, err error) error {
		var made []Example
		if err == nil {
			made, err = r.examples(t, length)
		}
		if errors.Is(err, errRow) {
			bad = append(bad, Skipped{n, strings.TrimPrefix(err.Error(), errRow.Error()+": ")})
			return nil
		}
		for _, e := range made {
			e.Row = n
			out = append(out, e)
		}
		return err
	}
	switch filepath.Ext(path) {
	case ".json":
		var rows []json.RawMessage
		if err := json.Unmarshal(data, &rows); err != nil {
			return nil, nil, fmt.Errorf("%s: want a JSON array of {instruction, input, output}: %w", path, err)
		}
		for i, text := range rows {
			r, err := parseRow(text)
			if err := add(i+1, r, err); err != nil {
				return nil, nil, fmt.Errorf("%s: row %d: %w", path, i+1, err)
			}
		}
	case ".jsonl":
		n := 0
		for line := range bytes.Lines(data) {
			if n++; len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			r, err := parseRow(line)
			if err := add(n, r, err); err != nil {
				return nil, nil, fmt.Errorf("%s: line %d: %w", path, n, err)
			}
		}
	default:
		parts := []string{string(data)}
		if separator != "" {
			parts = strings.Split(parts[0], separator)
		}
		for i, part := range parts {
			if part = strings.TrimSpace(part); part == "" && i == len(parts)-1 && i > 0 {
				continue // after the last separator
			}
			if err := add(i+1, row{Text: &part}, nil); err != nil {
				return nil, nil, fmt.Errorf("%s: part %d: %w", path, i+1, err)
			}
		}
	}
	if len(out) == 0 && len(bad) > 0 {
		return nil, bad, fmt.Errorf("%s: no row to train on, %d skipped: row %d: %s", path, len(bad), bad[0].Row, bad[0].Reason)
	}
	if len(out) == 0 {
		return nil, bad, fmt.Errorf("%s: no row to train on, %d skipped", path, len(bad))
	}
	return out, bad, nil
}

// errRow marks what is wrong with one row alone.
var errRow = errors.New("row")

func parseRow(text []byte) (row, error) {
	var r row
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return r, fmt.Errorf("%w: not a JSON object", errRow)
	}
	for _, f := range []struct {
		name string
		to   **string
	}{{"instruction", &r.Instruction}, {"input", &r.Input}, {"output", &r.Output}, {"text", &r.Text}} {
		if v, ok := fields[f.name]; ok {
			if err := json.Unmarshal(v, f.to); err != nil {
				return r, fmt.Errorf("%w: %s is not a string", errRow, f.name)
			}
		}
	}
	return r, nil
}

// examples tokenises a row.
func (r row) examples(t *tokenizer.Tokenizer, length int) ([]Example, error) {
	blank := func(s *string) bool { return s == nil || strings.TrimSpace(*s) == "" }
	switch {
	case r.Text != nil && r.Instruction == nil:
		if blank(r.Text) {
			return nil, fmt.Errorf("%w: the text is empty", errRow)
		}
		return texts(t, *r.Text, length)
	case blank(r.Instruction):
		return nil, fmt.Errorf("%w: no instruction", errRow)
	case blank(r.Output):
		return nil, fmt.Errorf("%w: no output", errRow)
	}
	input := ""
	if r.Input != nil {
		input = *r.Input
	}
	before, err := t.Encode([]byte(prompt(*r.Instruction, input)), tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	after, err := t.Encode([]byte(*r.Output), tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	before, after = before[:min(len(before), length)], after[:min(len(after), length)]
	if eos := t.EOS(); len(eos) > 0 && len(after) < length && after[len(after)-1] != eos[0] {
		after = append(after, eos[0])
	}
	ids := append(before[:len(before):len(before)], after...)
	ids = ids[:min(len(ids), length)]
	if len(ids) <= len(before) {
		return nil, fmt.Errorf("%w: the prompt alone takes all %d ids", errRow, length)
	}
	return []Example{{IDs: ids, First: len(before)}}, nil
}

// texts cuts a text into examples.
func texts(t *tokenizer.Tokenizer, text string, length int) ([]Example, error) {
	ids, err := t.Encode([]byte(text), tokenizer.EncodeOptions{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	if eos := t.EOS(); len(eos) > 0 {
		ids = append(ids, eos[0])
	}
	var out []Example
	for at := 0; at < len(ids); at += length - 1 {
		out = append(out, Example{IDs: append([]int{t.BOS()}, ids[at:min(at+length-1, len(ids))]...), First: 1})
	}
	return out, nil
}
