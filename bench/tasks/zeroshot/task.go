// Package zeroshot scores a model on multiple-choice tasks by log-likelihood, with the
// formats, boundaries and metrics of lm-evaluation-harness.
//
// A task is one file with the formats that its data comes in, and one line in All. A
// format turns a row of a data file into a Question; the rest is common to all tasks:
// finding the data (data.go), tokenising (encode.go), scoring (run.go), the log from which
// a run resumes (log.go) and the figures (result.go).
package zeroshot

import (
	"fmt"
	"slices"
	"strings"
)

// Task is one multiple-choice task.
type Task struct {
	Name    string
	Split   []string // words in the name of the file of the split that is scored
	Norm    bool     // acc_norm is reported as well
	Formats []Format // the first one that a file has is used
}

// Format is a form in which a task's rows are published.
type Format struct {
	Name  string   // for messages
	Keys  []string // that the first row has, of a file of JSON lines
	Lines int      // of a row, of a text file; 0 = JSON lines
	Hint  string   // must be in the file's path where other tasks' files look the same
	// Parse makes a question of a row. A row of a text file is that many lines.
	Parse func(row []byte) (Question, error)
	// Labels reads the gold choices from a file beside the data, where rows lack them.
	Labels func(path string) ([]int, error)
}

// Question is a question with its choices.
type Question struct {
	Choices []Choice
	Gold    int // index of the right choice
}

// Choice is one continuation whose log-likelihood is asked for.
type Choice struct {
	Context, Continuation string // the latter with the space in front
	Text                  string // by whose length acc_norm divides
}

// All is the table of the tasks.
func All() []Task {
	return []Task{piqa(), hellaswag(), winogrande(), arcEasy(), arcChallenge(), boolq(), openbookqa()}
}

// Names lists the tasks' names.
func Names() []string {
	var names []string
	for _, t := range All() {
		names = append(names, t.Name)
	}
	return names
}

// Parse reads names with commas between them.
func Parse(names string) ([]Task, error) {
	var out []Task
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(All(), func(t Task) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("want some of %s with commas between them, got %q", strings.Join(Names(), ", "), name)
		}
		if slices.ContainsFunc(out, func(t Task) bool { return t.Name == name }) {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		out = append(out, All()[i])
	}
	return out, nil
}

// choose makes a question whose choices follow one context. The harness puts one space
// before every choice.
func choose(context string, texts []string, gold int) (Question, error) {
	q := Question{Gold: gold}
	for _, text := range texts {
		q.Choices = append(q.Choices, Choice{context, " " + text, text})
	}
	return q, q.check()
}

func (q Question) check() error {
	if len(q.Choices) < 2 {
		return fmt.Errorf("want at least 2 choices, got %d", len(q.Choices))
	}
	for i, c := range q.Choices {
		switch {
		case strings.TrimSpace(c.Text) == "" || strings.TrimSpace(c.Continuation) == "":
			return fmt.Errorf("choice %d is empty", i+1)
		case strings.TrimSpace(c.Context) == "":
			return fmt.Errorf("choice %d: the context is empty", i+1)
		}
	}
	if q.Gold < 0 || q.Gold >= len(q.Choices) {
		return fmt.Errorf("gold choice: want 0 to %d, got %d", len(q.Choices)-1, q.Gold)
	}
	return nil
}
