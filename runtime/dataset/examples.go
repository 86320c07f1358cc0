package dataset

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

// Example is a tokenized row of fine-tuning data. The loss is taken on the tokens
// from FirstTarget on.
type Example struct {
	Row         int // number of the row in its file, from 1
	Tokens      []int32
	FirstTarget int // >= 1
}

// Targets returns the number of tokens that the loss is taken on.
func (e Example) Targets() int { return len(e.Tokens) - e.FirstTarget }

// SkippedRow is a row that gives no example.
type SkippedRow struct {
	Row    int    `json:"row"` // from 1
	Reason string `json:"reason"`
}

// ReadExamples reads the fine-tuning examples of a file, each of at most length
// tokens. The file's extension decides its format:
//
//   - .json is an array of {instruction, input, output} objects, as in Alpaca;
//   - .jsonl has one such object, or {"text": ..}, on each line;
//   - any other file is text, split at the separator; an empty separator leaves it whole.
//
// The prompt and the response of an instruction are tokenized separately. Each gets
// BOS in front and is truncated to length. EOS is appended to the response if there
// is room, then prompt and response are joined and truncated to length. The targets
// are all tokens after the prompt, including the response's BOS. This is how the
// released MoP models were fine-tuned.
//
// A text gets BOS in front and EOS at its end, and every token but the BOS is a
// target. A text longer than length gives several examples, each with its own BOS.
//
// Rows that are malformed, empty or without a target are returned in skipped. It is
// an error if no row gives an example.
func ReadExamples(path, separator string, t *tokenizer.Tokenizer, length int) (examples []Example, skipped []SkippedRow, err error) {
	// The file is read again later for its checksum, when a pipe would be empty.
	if _, err := files.Check(path); err != nil {
		return nil, nil, err
	}
	if length < 2 {
		return nil, nil, fmt.Errorf("length: want at least 2 tokens, got %d", length)
	}
	if t.BOS() < 0 {
		return nil, nil, errors.New("the tokenizer has no BOS token")
	}
	r := exampleReader{tokenizer: t, length: length, skipped: []SkippedRow{}}
	if err := files.View(path, func(data []byte) error {
		switch filepath.Ext(path) {
		case ".json":
			return r.readArray(path, data)
		case ".jsonl":
			return r.readLines(path, data)
		default:
			return r.readText(path, data, separator)
		}
	}); err != nil {
		return nil, nil, err
	}
	switch {
	case len(r.examples) > 0:
		return r.examples, r.skipped, nil
	case len(r.skipped) > 0:
		first := r.skipped[0]
		return nil, r.skipped, fmt.Errorf("%s: no row to train on, %d skipped: row %d: %s", path, len(r.skipped), first.Row, first.Reason)
	default:
		return nil, r.skipped, fmt.Errorf("%s: no row to train on, 0 skipped", path)
	}
}

// exampleReader collects the examples and the skipped rows of one file.
type exampleReader struct {
	tokenizer *tokenizer.Tokenizer
	length    int // most tokens of an example
	examples  []Example
	skipped   []SkippedRow
}

// errSkip marks an error that concerns a single row, which is then skipped.
var errSkip = errors.New("row")

// add records what row number n gave: examples, or an error that skips the row or
// ends the reading.
func (r *exampleReader) add(n int, examples []Example, err error) error {
	if errors.Is(err, errSkip) {
		r.skipped = append(r.skipped, SkippedRow{n, strings.TrimPrefix(err.Error(), errSkip.Error()+": ")})
		return nil
	}
	for _, e := range examples {
		e.Row = n
		r.examples = append(r.examples, e)
	}
	return err
}

func (r *exampleReader) readArray(path string, data []byte) error {
	var rows []json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		return fmt.Errorf("%s: want a JSON array of {instruction, input, output}: %w", path, err)
	}
	for i, text := range rows {
		examples, err := r.rowExamples(text)
		if err := r.add(i+1, examples, err); err != nil {
			return fmt.Errorf("%s: row %d: %w", path, i+1, err)
		}
	}
	return nil
}

func (r *exampleReader) readLines(path string, data []byte) error {
	n := 0
	for line := range bytes.Lines(data) {
		if n++; len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		examples, err := r.rowExamples(line)
		if err := r.add(n, examples, err); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
	}
	return nil
}

func (r *exampleReader) readText(path string, data []byte, separator string) error {
	parts := [][]byte{data}
	if separator != "" {
		parts = bytes.Split(data, []byte(separator))
	}
	for i, part := range parts {
		if part = bytes.TrimSpace(part); len(part) == 0 && i == len(parts)-1 && i > 0 {
			continue // nothing follows the last separator
		}
		examples, err := r.textExamples(part)
		if err := r.add(i+1, examples, err); err != nil {
			return fmt.Errorf("%s: part %d: %w", path, i+1, err)
		}
	}
	return nil
}

// row is one JSON object of a data file: an instruction with its response, or a
// text. Fields that the object lacks are nil.
type row struct {
	Instruction, Input, Output, Text *string
}

func parseRow(text []byte) (row, error) {
	var r row
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return r, fmt.Errorf("%w: not a JSON object", errSkip)
	}
	for _, f := range []struct {
		name  string
		value **string
	}{{"instruction", &r.Instruction}, {"input", &r.Input}, {"output", &r.Output}, {"text", &r.Text}} {
		if v, ok := fields[f.name]; ok {
			if err := json.Unmarshal(v, f.value); err != nil {
				return r, fmt.Errorf("%w: %s is not a string", errSkip, f.name)
			}
		}
	}
	return r, nil
}

// rowExamples makes the examples of one JSON object.
func (r *exampleReader) rowExamples(text []byte) ([]Example, error) {
	row, err := parseRow(text)
	if err != nil {
		return nil, err
	}
	blank := func(s *string) bool { return s == nil || strings.TrimSpace(*s) == "" }
	switch {
	case row.Text != nil && row.Instruction == nil:
		return r.textExamples([]byte(*row.Text))
	case blank(row.Instruction):
		return nil, fmt.Errorf("%w: no instruction", errSkip)
	case blank(row.Output):
		return nil, fmt.Errorf("%w: no output", errSkip)
	}
	input := ""
	if row.Input != nil {
		input = *row.Input
	}
	return r.responseExample(alpacaPrompt(*row.Instruction, input), *row.Output)
}

// responseExample makes the example of a prompt and the response to it.
func (r *exampleReader) responseExample(prompt, response string) ([]Example, error) {
	t := r.tokenizer
	before, err := t.EncodeFirst([]byte(prompt), r.length, tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSkip, err)
	}
	after, err := t.EncodeFirst([]byte(response), r.length, tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSkip, err)
	}
	if eos := t.EOS(); len(eos) > 0 && len(after) < r.length && after[len(after)-1] != eos[0] {
		after = append(after, eos[0])
	}
	if len(before) == r.length {
		return nil, fmt.Errorf("%w: the prompt alone takes all %d tokens", errSkip, r.length)
	}
	tokens := toInt32(before, after[:min(len(after), r.length-len(before))])
	return []Example{{Tokens: tokens, FirstTarget: len(before)}}, nil
}

// textExamples cuts a text into examples.
func (r *exampleReader) textExamples(text []byte) ([]Example, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("%w: the text is empty", errSkip)
	}
	t := r.tokenizer
	var out []Example
	var tokens []int // that are in no example yet
	add := func(n int) {
		out = append(out, Example{Tokens: toInt32([]int{t.BOS()}, tokens[:n]), FirstTarget: 1})
		tokens = tokens[n:]
	}
	if err := t.EncodeEach(text, tokenizer.EncodeOptions{}, func(more []int) bool {
		for tokens = append(tokens, more...); len(tokens) >= r.length-1; {
			add(r.length - 1)
		}
		return true
	}); err != nil {
		return nil, fmt.Errorf("%w: %w", errSkip, err)
	}
	if eos := t.EOS(); len(eos) > 0 {
		tokens = append(tokens, eos[0])
	}
	if len(tokens) > 0 {
		add(len(tokens))
	}
	return out, nil
}

// toInt32 joins lists of tokens. Examples are stored as int32 because a data file
// may have many of them.
func toInt32(lists ...[]int) []int32 {
	var out []int32
	for _, list := range lists {
		out = slices.Grow(out, len(list))
		for _, token := range list {
			out = append(out, int32(token))
		}
	}
	return out
}
