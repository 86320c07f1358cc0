package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"mop/internal/files"
	"mop/runtime/chat"
	"mop/runtime/tokenizer"
)

// Example is a tokenized row of fine-tuning data. The loss is taken on the tokens
// from FirstTarget on, except those of Unlearned.
type Example struct {
	Row         int // number of the row in its file, from 1
	Tokens      []int32
	FirstTarget int // >= 1
	// Unlearned are parts of the tokens behind FirstTarget, each from the first index up
	// to but not including the second, on which no loss is taken: the turns of others in a
	// conversation.
	Unlearned [][2]int
}

// Targets returns the number of tokens that the loss is taken on.
func (e Example) Targets() int {
	n := len(e.Tokens) - e.FirstTarget
	for _, u := range e.Unlearned {
		n -= u[1] - u[0]
	}
	return n
}

// IsTarget reports whether the loss is taken on a token.
func (e Example) IsTarget(i int) bool {
	return i >= e.FirstTarget && i < len(e.Tokens) && !slices.ContainsFunc(e.Unlearned, func(u [2]int) bool { return i >= u[0] && i < u[1] })
}

// ReadExamples reads the fine-tuning examples of a file, each of at most length tokens.
//
// The prompt and the response of an instruction are tokenized separately. Each gets
// BOS in front and is truncated to length. EOS is appended to the response if there
// is room, then prompt and response are joined and truncated to length. The targets
// are all tokens after the prompt, including the response's BOS. This is how the
// released MoP models were fine-tuned.
//
// A prompt and its completion are tokenized as one text with BOS in front and EOS at its
// end. The tokens that belong to the completion are targets.
//
// Messages are rendered by the chat template, which writes BOS where the model wants it.
// The assistant's turns are targets. If the last one ends without EOS, EOS is appended.
//
// A text gets BOS in front and EOS at its end, and every token but the BOS is a
// target. A text longer than length gives several examples, each with its own BOS.
//
// Rows that are malformed, empty or without a target are returned in skipped. It is
// an error if no row gives an example.
func ReadExamples(f File, t *tokenizer.Tokenizer, length int) (examples []Example, skipped []SkippedRow, err error) {
	// The file is read again later for its checksum, when a pipe would be empty.
	if _, err := files.Check(f.Path); err != nil {
		return nil, nil, err
	}
	if length < 2 {
		return nil, nil, fmt.Errorf("length: want at least 2 tokens, got %d", length)
	}
	err = f.read(func(rows *table) error {
		r := exampleReader{tokenizer: t, length: length, special: f.Special, eos: f.EOS}
		if r.eos == nil {
			r.eos = t.EOS()
		}
		if r.template, err = f.chatTemplate(rows); err != nil {
			return err
		}
		for _, row := range rows.rows {
			more, err := r.examples(row)
			if err != nil {
				if err := rows.record(row.number, err); err != nil {
					return fmt.Errorf("row %d: %w", row.number, err)
				}
			}
			for _, e := range more {
				e.Row = row.number
				examples = append(examples, e)
			}
		}
		slices.SortStableFunc(rows.skipped, func(a, b SkippedRow) int { return a.Row - b.Row })
		skipped = rows.skipped
		switch {
		case len(examples) > 0:
			return nil
		case len(skipped) > 0:
			return fmt.Errorf("no row to train on, %d skipped: row %d: %s", len(skipped), skipped[0].Row, skipped[0].Reason)
		}
		return errors.New("no row to train on, 0 skipped")
	})
	return examples, skipped, err
}

// exampleReader makes examples of rows.
type exampleReader struct {
	tokenizer *tokenizer.Tokenizer
	length    int // most tokens of an example
	special   bool
	eos       []int
	template  *chat.Template
}

func (r *exampleReader) examples(row row) ([]Example, error) {
	switch {
	case row.messages != nil:
		return r.chatExample(row)
	case row.isPrompt:
		return r.promptExample(row.prompt, row.completion)
	case row.instruction != "":
		return r.responseExample(alpacaPrompt(row.instruction, row.input), row.output)
	}
	return r.textExamples(row.text)
}

// encode returns the first tokens of a text, with one BOS in front.
func (r *exampleReader) encode(text string) ([]int, error) {
	tokens, err := r.tokenizer.EncodeFirst([]byte(text), r.length, tokenizer.EncodeOptions{Special: r.special})
	if err != nil {
		return nil, skip(err.Error())
	}
	if bos := r.tokenizer.BOS(); bos >= 0 && (len(tokens) == 0 || tokens[0] != bos) {
		tokens = append([]int{bos}, tokens[:min(len(tokens), r.length-1)]...)
	}
	return tokens, nil
}

// end appends EOS where there is one, room for it, and none yet.
func (r *exampleReader) end(tokens []int) []int {
	if eos := r.eos; len(eos) > 0 && len(tokens) < r.length && (len(tokens) == 0 || tokens[len(tokens)-1] != eos[0]) {
		return append(tokens, eos[0])
	}
	return tokens
}

// responseExample makes the example of a prompt and the response to it.
func (r *exampleReader) responseExample(prompt, response string) ([]Example, error) {
	before, err := r.encode(prompt)
	if err != nil {
		return nil, err
	}
	after, err := r.encode(response)
	if err != nil {
		return nil, err
	}
	after = r.end(after)
	if len(before) == r.length {
		return nil, skip(fmt.Sprintf("the prompt alone takes all %d tokens", r.length))
	}
	tokens := toInt32(before, after[:min(len(after), r.length-len(before))])
	return []Example{{Tokens: tokens, FirstTarget: len(before)}}, nil
}

// promptExample makes the example of a prompt and a completion that continues it.
func (r *exampleReader) promptExample(prompt, completion string) ([]Example, error) {
	before, err := r.encode(prompt)
	if err != nil {
		return nil, err
	}
	tokens, err := r.encode(prompt + completion)
	if err != nil {
		return nil, err
	}
	tokens = r.end(tokens)
	first := 0
	for first < len(before) && first < len(tokens) && before[first] == tokens[first] {
		first++
	}
	if first = max(first, 1); first >= len(tokens) {
		return nil, skip(fmt.Sprintf("the prompt alone takes all %d tokens", r.length))
	}
	return []Example{{Tokens: toInt32(tokens), FirstTarget: first}}, nil
}

// chatExample makes the example of a conversation.
func (r *exampleReader) chatExample(row row) ([]Example, error) {
	tokens, turns, err := chatExample(r.template, r.tokenizer, row, r.length)
	if err != nil {
		return nil, err
	}
	if n := len(turns); n > 0 && turns[n-1].end == len(tokens) && len(tokens) < r.length && !r.hasEOS(tokens[turns[n-1].start:]) {
		if tokens = r.end(tokens); len(tokens) > turns[n-1].end {
			turns[n-1].end = len(tokens)
		}
	}
	e := Example{Tokens: toInt32(tokens)}
	end := 0 // of the turn before
	for _, s := range turns {
		s.start = max(s.start, 1)
		switch {
		case s.start >= s.end:
		case e.FirstTarget == 0:
			e.FirstTarget = s.start
		default:
			e.Unlearned = append(e.Unlearned, [2]int{end, s.start})
		}
		end = max(end, s.end)
	}
	if e.FirstTarget == 0 {
		return nil, skip(fmt.Sprintf("no turn of the assistant in the first %d tokens", r.length))
	}
	e.Tokens = e.Tokens[:end]
	return []Example{e}, nil
}

// hasEOS reports whether a turn ends with EOS, behind which a template may write white
// space.
func (r *exampleReader) hasEOS(turn []int) bool {
	return slices.ContainsFunc(turn[max(0, len(turn)-3):], func(id int) bool { return slices.Contains(r.eos, id) })
}

// textExamples cuts a text into examples.
func (r *exampleReader) textExamples(text []byte) ([]Example, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, skip("the text is empty")
	}
	t := r.tokenizer
	var bos, tokens []int // tokens that are in no example yet
	if t.BOS() >= 0 {
		bos = []int{t.BOS()}
	}
	var out []Example
	add := func(n int) {
		out = append(out, Example{Tokens: toInt32(bos, tokens[:n]), FirstTarget: 1})
		tokens = tokens[n:]
	}
	size := r.length - len(bos)
	first := true
	if err := t.EncodeEach(text, tokenizer.EncodeOptions{Special: r.special}, func(more []int) bool {
		if first && len(bos) > 0 && len(more) > 0 && more[0] == bos[0] {
			more = more[1:] // the text has its own BOS
		}
		first = false
		for tokens = append(tokens, more...); len(tokens) >= size; {
			add(size)
		}
		return true
	}); err != nil {
		return nil, skip(err.Error())
	}
	if eos := r.eos; len(eos) > 0 && (len(tokens) == 0 || tokens[len(tokens)-1] != eos[0]) {
		tokens = append(tokens, eos[0])
	}
	if len(bos)+len(tokens) > 1 {
		add(len(tokens))
	}
	if len(out) == 0 {
		return nil, skip("one token, which nothing precedes")
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
