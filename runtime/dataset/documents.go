package dataset

import (
	"bytes"
	"slices"

	"mop/runtime/chat"
)

// document is a text that is evaluated or whose start is a prompt.
type document struct {
	text    []byte
	whole   bool // the file is this one text
	special bool // text of special tokens gives their ids
}

// Documents reads the documents of a file as text: the rows of JSON; of a text the parts
// between separators, without surrounding white space; or the whole text as it is when the
// separator is empty.
func Documents(path, separator string) (out []string, err error) {
	f := File{Path: path, Separator: separator}
	err = f.documents(func(documents []document) error {
		for _, d := range documents {
			out = append(out, string(d.text))
		}
		return nil
	})
	return out, err
}

// documents calls use with the documents of a file: each row as the text that a model
// would be trained on. They are valid until use returns.
func (f *File) documents(use func(documents []document) error) error {
	return f.texts(wholeText, use)
}

// texts calls use with one text for each row, and logs the rows that give none.
func (f *File) texts(textOf func(*chat.Template, row) (string, error), use func(documents []document) error) error {
	return f.read(func(t *table) error {
		template, err := f.chatTemplate(t)
		if err != nil {
			return err
		}
		var out []document
		for _, r := range t.rows {
			d := document{r.text, t.whole, f.Special}
			if r.messages != nil || r.isPrompt || r.instruction != "" {
				text, err := textOf(template, r)
				if err != nil {
					if err := t.record(r.number, err); err != nil {
						return err
					}
					continue
				}
				d = document{[]byte(text), false, f.Special || r.messages != nil}
			}
			if len(d.text) > 0 {
				out = append(out, d)
			}
		}
		slices.SortStableFunc(t.skipped, func(a, b SkippedRow) int { return a.Row - b.Row })
		if !slices.ContainsFunc(out, func(d document) bool { return len(bytes.TrimSpace(d.text)) > 0 }) {
			return t.none("text")
		}
		LogSkipped(f.Path, t.skipped)
		return use(out)
	})
}

// wholeText is a row with its response.
func wholeText(template *chat.Template, r row) (string, error) {
	switch {
	case r.messages != nil:
		return render(template, r.messages, false)
	case r.isPrompt:
		return r.prompt + r.completion, nil
	case r.instruction != "":
		return alpacaPrompt(r.instruction, r.input) + r.output, nil
	}
	return string(r.text), nil
}

// promptText is a row without its response, which a model would generate. An instruction
// is put into the prompt of the released MoP models.
func promptText(template *chat.Template, r row) (string, error) {
	switch {
	case r.messages != nil:
		return chatPrompt(template, r)
	case r.isPrompt:
		return r.prompt, nil
	case r.instruction != "":
		text := "Instruction: " + r.instruction + "\n"
		if r.input != "" {
			text += "Input: " + r.input + "\n"
		}
		return text + "Response:", nil
	}
	return string(r.text), nil
}
