package dataset

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A ScienceQA row is a question with choices, of which answer is the index of the right
// one. Its prompt is that of the released MoP runs of LLaVA; the image is left out.
//
//	Question: {question}
//	Choices: A) {choice} B) {choice}
//	Answer:
type scienceQuestion struct {
	Question *string  `json:"question"`
	Choices  []string `json:"choices"`
	Answer   *int     `json:"answer"`
}

// scienceRow reads a ScienceQA row.
func scienceRow(fields map[string]json.RawMessage) (row, error) {
	var q scienceQuestion
	if json.Unmarshal(fields["question"], &q.Question) != nil || q.Question == nil || strings.TrimSpace(*q.Question) == "" {
		return row{}, skip("no question")
	}
	if json.Unmarshal(fields["choices"], &q.Choices) != nil || len(q.Choices) == 0 || len(q.Choices) > 26 {
		return row{}, skip("choices is not a list of 1 to 26 strings")
	}
	if json.Unmarshal(fields["answer"], &q.Answer) != nil || q.Answer == nil || *q.Answer < 0 || *q.Answer >= len(q.Choices) {
		return row{}, skip("answer is not the index of a choice")
	}
	var choices []string
	for i, c := range q.Choices {
		choices = append(choices, fmt.Sprintf("%c) %s", 'A'+i, c))
	}
	prompt := fmt.Sprintf("Question: %s\nChoices: %s\nAnswer:", *q.Question, strings.Join(choices, " "))
	return row{isPrompt: true, prompt: prompt, completion: fmt.Sprintf(" %c", 'A'+*q.Answer)}, nil
}

// scienceProblems returns the rows of ScienceQA's problems.json, an object of questions by
// their numbers, in the order of the numbers; nil = it is another object.
func scienceProblems(object map[string]json.RawMessage) []json.RawMessage {
	names := slices.SortedFunc(maps.Keys(object), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	var rows []json.RawMessage
	for _, name := range names {
		var fields map[string]json.RawMessage
		if json.Unmarshal(object[name], &fields) != nil || fields["question"] == nil || fields["choices"] == nil {
			return nil
		}
		rows = append(rows, object[name])
	}
	return rows
}
