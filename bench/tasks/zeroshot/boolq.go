package zeroshot

import (
	"fmt"
	"strings"
)

// boolq: the context is "{passage}\nQuestion: {question}?\nAnswer:", the choices are no and
// yes.
func boolq() Task {
	ask := func(passage, question string, gold int) (Question, error) {
		return choose(passage+"\nQuestion: "+question+"?\nAnswer:", []string{"no", "yes"}, gold)
	}
	parse := func(key string) func([]byte) (Question, error) {
		return func(row []byte) (Question, error) {
			var r struct {
				Passage, Question string
				Answer, Label     label
			}
			r.Answer, r.Label = noLabel, noLabel
			if err := decode(row, &r); err != nil {
				return Question{}, err
			}
			if key == "answer" {
				return ask(r.Passage, r.Question, int(r.Answer))
			}
			return ask(r.Passage, r.Question, int(r.Label))
		}
	}
	return Task{Name: "boolq", Split: []string{"dev", "valid", "val"}, Formats: []Format{
		{Name: "the rows of SuperGLUE", Keys: []string{"passage", "question", "label"}, Parse: parse("label")},
		{Name: "the official rows", Keys: []string{"passage", "question", "answer"}, Parse: parse("answer")},
		foundry("boolq", func(query string, texts []string, gold int) (Question, error) {
			passage, question, ok := cutLast(strings.TrimPrefix(query, "Passage: "), "\nQuestion: ")
			if !ok || !strings.HasPrefix(query, "Passage: ") || len(texts) != 2 || texts[0] != "no" || texts[1] != "yes" {
				return Question{}, fmt.Errorf("want a query \"Passage: ..\\nQuestion: ..?\" and the choices no and yes, got %q and %q", query, texts)
			}
			return ask(passage, strings.TrimSuffix(question, "?"), gold)
		}),
	}}
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}
