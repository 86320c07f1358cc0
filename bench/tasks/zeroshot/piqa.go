package zeroshot

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// piqa: the context is "Question: {goal}\nAnswer:", the choices are the two solutions.
func piqa() Task {
	parse := func(absent label) func([]byte) (Question, error) {
		return func(row []byte) (Question, error) {
			r := struct {
				Goal, Sol1, Sol2 string
				Label            label
			}{Label: absent}
			if err := decode(row, &r); err != nil {
				return Question{}, err
			}
			return choose("Question: "+r.Goal+"\nAnswer:", []string{r.Sol1, r.Sol2}, int(r.Label))
		}
	}
	labelled, unlabelled := parse(noLabel), parse(0)
	return Task{Name: "piqa", Norm: true, Split: []string{"valid", "dev", "val"}, Formats: []Format{
		{Name: "the data set's rows with labels", Keys: []string{"goal", "sol1", "sol2", "label"}, Parse: labelled},
		{Name: "the official rows", Keys: []string{"goal", "sol1", "sol2"}, Parse: unlabelled, Labels: piqaLabels},
		foundry("piqa", func(query string, texts []string, gold int) (Question, error) {
			return choose(strings.TrimRight(query, "\n")+"\nAnswer:", texts, gold)
		}),
	}}
}

// piqaLabels reads NAME-labels.lst beside NAME.jsonl: one label a line.
func piqaLabels(path string) ([]int, error) {
	name := strings.TrimSuffix(path, ".jsonl") + "-labels.lst"
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: its rows have no labels: want them in a file beside it: %w", path, err)
	}
	var labels []int
	for i, field := range strings.Fields(string(data)) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: want a label, got %q", name, i+1, field)
		}
		labels = append(labels, n)
	}
	return labels, nil
}
