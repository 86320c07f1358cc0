package zeroshot

import (
	"fmt"
	"strings"
)

// winogrande: each choice has its own context, the sentence with an option in place of
// what follows; both are continued by the same text, that after the gap. llm-foundry's rows
// of the Winograd schemas look the same, so the path of such a file must have the task's name.
func winogrande() Task {
	return Task{Name: "winogrande", Split: []string{"dev", "valid", "val"}, Formats: []Format{
		{Name: "the official rows", Keys: []string{"sentence", "option1", "option2", "answer"}, Parse: func(row []byte) (Question, error) {
			var r struct{ Sentence, Option1, Option2, Answer string }
			if err := decode(row, &r); err != nil {
				return Question{}, err
			}
			before, after, gap := strings.Cut(r.Sentence, "_")
			if !gap {
				return Question{}, fmt.Errorf("sentence: want a gap \"_\", got %q", r.Sentence)
			}
			for i, option := range []string{r.Option1, r.Option2} {
				if strings.TrimFunc(option, isSpace) == "" {
					return Question{}, fmt.Errorf("option%d is empty", i+1)
				}
			}
			if r.Answer != "1" && r.Answer != "2" {
				return Question{}, fmt.Errorf("answer: want \"1\" or \"2\", got %q", r.Answer)
			}
			return continued([]string{before + r.Option1, before + r.Option2}, strings.TrimFunc(after, isSpace), int(r.Answer[0]-'1'))
		}},
		{Name: "llm-foundry's rows", Keys: []string{"context_options", "continuation", "gold"}, Hint: "winogrande", Parse: func(row []byte) (Question, error) {
			var r struct {
				Options      []string `json:"context_options"`
				Continuation string
				Gold         *int
			}
			if err := decode(row, &r); err != nil {
				return Question{}, err
			}
			if r.Gold == nil {
				return Question{}, errNoGold
			}
			return continued(r.Options, r.Continuation, *r.Gold)
		}},
	}}
}

// continued makes a question whose contexts are the choices.
func continued(contexts []string, text string, gold int) (Question, error) {
	q := Question{Gold: gold}
	for _, c := range contexts {
		q.Choices = append(q.Choices, Choice{c, " " + text, c})
	}
	return q, q.check()
}
