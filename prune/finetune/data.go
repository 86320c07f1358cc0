package finetune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"mop/internal/files"
	"mop/runtime/tokenizer"
)

// Example is one row of the data as ids; those from First on are targets.
type Example struct {
	Row         int // in the file, from 1: what a person finds it by
	Tokens      []int32
	FirstTarget int // >= 1
}

// Targets is how many ids the loss is taken on.
func (e Example) Targets() int { return len(e.Tokens) - e.FirstTarget }

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
func Read(path, separator string, t *tokenizer.Tokenizer, length int) (examples []Example, bad []Skipped, err error) {
	// It is read twice, the second time for its checksum: a pipe would be empty.
	if _, err := files.Check(path); err != nil {
		return nil, nil, err
	}
	err = files.View(path, func(data []byte) error {
		examples, bad, err = read(data, path, separator, t, length)
		return err
	})
	return examples, bad, err
}

func read(data []byte, path, separator string, t *tokenizer.Tokenizer, length int) ([]Example, []Skipped, error) {
	if length < 2 {
		return nil, nil, fmt.Errorf("length: want at least 2 ids, got %d", length)
	}
	if t.BOS() < 0 {
		return nil, nil, errors.New("the tokenizer has no BOS id")
	}
	var out []Example
	bad := []Skipped{}
	add := func(n int, made []Example, err error) error {
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
			made, err := rowExamples(text, t, length)
			if err := add(i+1, made, err); err != nil {
				return nil, nil, fmt.Errorf("%s: row %d: %w", path, i+1, err)
			}
		}
	case ".jsonl":
		n := 0
		for line := range bytes.Lines(data) {
			if n++; len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			made, err := rowExamples(line, t, length)
			if err := add(n, made, err); err != nil {
				return nil, nil, fmt.Errorf("%s: line %d: %w", path, n, err)
			}
		}
	default:
		parts := [][]byte{data}
		if separator != "" {
			parts = bytes.Split(data, []byte(separator))
		}
		for i, part := range parts {
			if part = bytes.TrimSpace(part); len(part) == 0 && i == len(parts)-1 && i > 0 {
				continue // after the last separator
			}
			made, err := textExamples(part, t, length)
			if err := add(i+1, made, err); err != nil {
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

// rowExamples tokenises a row.
func rowExamples(text []byte, t *tokenizer.Tokenizer, length int) ([]Example, error) {
	r, err := parseRow(text)
	if err != nil {
		return nil, err
	}
	blank := func(s *string) bool { return s == nil || strings.TrimSpace(*s) == "" }
	switch {
	case r.Text != nil && r.Instruction == nil:
		return textExamples([]byte(*r.Text), t, length)
	case blank(r.Instruction):
		return nil, fmt.Errorf("%w: no instruction", errRow)
	case blank(r.Output):
		return nil, fmt.Errorf("%w: no output", errRow)
	}
	input := ""
	if r.Input != nil {
		input = *r.Input
	}
	before, err := t.EncodeFirst([]byte(prompt(*r.Instruction, input)), length, tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	after, err := t.EncodeFirst([]byte(*r.Output), length, tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	if eos := t.EOS(); len(eos) > 0 && len(after) < length && after[len(after)-1] != eos[0] {
		after = append(after, eos[0])
	}
	if len(before) == length {
		return nil, fmt.Errorf("%w: the prompt alone takes all %d ids", errRow, length)
	}
	return []Example{{Tokens: toInt32(before, after[:min(len(after), length-len(before))]), FirstTarget: len(before)}}, nil
}

// textExamples cuts a text into examples.
func textExamples(text []byte, t *tokenizer.Tokenizer, length int) ([]Example, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("%w: the text is empty", errRow)
	}
	var out []Example
	var ids []int // of the next example
	take := func(n int) {
		out = append(out, Example{Tokens: toInt32([]int{t.BOS()}, ids[:n]), FirstTarget: 1})
		ids = ids[n:]
	}
	if err := t.EncodeEach(text, tokenizer.EncodeOptions{}, func(more []int) bool {
		for ids = append(ids, more...); len(ids) >= length-1; {
			take(length - 1)
		}
		return true
	}); err != nil {
		return nil, fmt.Errorf("%w: %w", errRow, err)
	}
	if eos := t.EOS(); len(eos) > 0 {
		ids = append(ids, eos[0])
	}
	if len(ids) > 0 {
		take(len(ids))
	}
	return out, nil
}

// toInt32 joins ids, in half the room.
func toInt32(lists ...[]int) []int32 {
	var out []int32
	for _, list := range lists {
		out = slices.Grow(out, len(list))
		for _, id := range list {
			out = append(out, int32(id))
		}
	}
	return out
}
