// Package vqa reads the questions of benchmarks about images in their official formats,
// writes answers in the form that their own scorers take, and scores answers by the metrics
// of lmms-eval and of LLaVA's scripts. It runs no model.
package vqa

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Question is one question of a benchmark.
type Question struct {
	ID     string
	Image  []string // paths below the folder of images, of which the first that exists counts; nil = no image
	Text   string   // the question alone
	Prompt string   // what the model is asked, without the image

	key     id       // the ID as answers name it
	choices []string // of ScienceQA, nil = not known
	gold    *gold    // nil = not known
}

// Row is one question of a log.
type Row struct {
	ID         id       `json:"id"`
	Prediction any      `json:"prediction"`
	Answer     any      `json:"answer"`  // null = not known
	Correct    *float64 `json:"correct"` // 1 and 0, or the share of agreeing annotators
}

// Result is the score of a benchmark.
type Result struct {
	Task    string
	N       int
	Correct *float64 // nil = there are no annotations
	Further []Metric
	Missing int // questions without an answer
}

// Metric is a further number of a task.
type Metric struct {
	Name  string
	Value float64
}

// Acc is the accuracy in percent, nil without annotations.
func (r *Result) Acc() *float64 {
	if r.Correct == nil || r.N == 0 {
		return nil
	}
	acc := 100 * *r.Correct / float64(r.N)
	return &acc
}

// MarshalJSON writes task, n, correct, acc and the task's further metrics.
func (r *Result) MarshalJSON() ([]byte, error) {
	out := map[string]any{"task": r.Task, "n": r.N, "correct": r.Correct, "acc": r.Acc(), "unanswered": r.Missing}
	for _, m := range r.Further {
		out[m.Name] = m.Value
	}
	return json.Marshal(out)
}

func (r *Result) String() string {
	s := fmt.Sprintf("%s: %d questions", r.Task, r.N)
	if acc := r.Acc(); acc != nil {
		s += fmt.Sprintf(", %.2f %% correct", *acc)
	} else {
		s += ", no annotations"
	}
	for _, m := range r.Further {
		s += fmt.Sprintf(", %s %.2f %%", strings.ReplaceAll(m.Name, "_", " "), m.Value)
	}
	if r.Missing > 0 {
		s += fmt.Sprintf(", %d without an answer", r.Missing)
	}
	return s
}

// benchmark is one of the tasks.
type benchmark struct {
	name      string
	maxTokens int // of an answer

	// questions reads the questions of a file; annotate reads annotations and returns the
	// questions that they are about, with their gold answers.
	questions func(d *document) ([]*Question, error)
	annotate  func(d *document) ([]*Question, error)
	// match finds the question of an answer by its text, nil = the id suffices.
	match func(a answer, all []*Question) *Question
	// score says what an answer means and how right it is; found is false for a question
	// without one.
	score func(q *Question, text string, found bool) (prediction, right any, correct float64)
	// further computes the task's other metrics.
	further func(rows []Row) []Metric
	// answers is the file that the benchmark's own scorer takes.
	answers func(questions []*Question, texts []string, model string, lines bool) ([]byte, error)
}

var benchmarks = []*benchmark{scienceQA(), pope(), textVQA(), vizWiz()}

// Names lists the benchmarks.
func Names() []string {
	var names []string
	for _, b := range benchmarks {
		names = append(names, b.name)
	}
	return names
}

// Set is the questions of a benchmark.
type Set struct {
	Questions []*Question
	MaxTokens int // of an answer

	task  *benchmark
	lines bool // the questions came as lines
	files bool // there is a file of questions: it says which questions there are
}

// Open reads a benchmark's questions and annotations, each "" = none. Without questions,
// those of the annotations count.
func Open(name, questions, annotations string) (*Set, error) {
	s := &Set{}
	for _, b := range benchmarks {
		if b.name == name {
			s.task, s.MaxTokens = b, b.maxTokens
		}
	}
	if s.task == nil {
		return nil, fmt.Errorf("task: want one of %s, got %q", strings.Join(Names(), ", "), name)
	}
	if questions != "" {
		d, err := readDocument(questions)
		if err != nil {
			return nil, err
		}
		if s.Questions, err = s.task.questions(d); err != nil {
			return nil, err
		}
		s.lines, s.files = d.lines, true
		if err := checkUnique(questions, s.Questions); err != nil {
			return nil, err
		}
	}
	if annotations == "" {
		return s, nil
	}
	d, err := readDocument(annotations)
	if err != nil {
		return nil, err
	}
	known, err := s.task.annotate(d)
	if err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("%s: want annotations of %s, got none", annotations, name)
	}
	if !s.files {
		s.Questions = known
		return s, checkUnique(annotations, known)
	}
	return s, s.join(annotations, known)
}

func checkUnique(path string, questions []*Question) error {
	if len(questions) == 0 {
		return fmt.Errorf("%s: want questions, got none", path)
	}
	seen := map[string]bool{}
	for _, q := range questions {
		if seen[q.ID] {
			return fmt.Errorf("%s: question %s stands twice", path, q.ID)
		}
		seen[q.ID] = true
	}
	return nil
}

// join gives the questions their gold answers.
func (s *Set) join(path string, known []*Question) error {
	byID := map[string]*Question{}
	for _, k := range known {
		byID[k.ID] = k
	}
	for _, q := range s.Questions {
		k := byID[q.ID]
		if k == nil && s.task.match != nil {
			k = s.task.match(answer{id: q.key, question: q.Text}, known)
		}
		if k == nil {
			return fmt.Errorf("%s: question %s has no annotation", path, q.ID)
		}
		if k.Text != "" && q.Text != "" && !strings.Contains(strings.ToLower(q.Text), strings.ToLower(strings.TrimSpace(k.Text))) {
			return fmt.Errorf("%s: question %s: the annotation is about %q, the question is %q", path, q.ID, k.Text, q.Text)
		}
		q.gold, q.choices = k.gold, k.choices
	}
	return nil
}

// Score scores the answers, one for each question.
func (s *Set) Score(texts []string) (*Result, []Row) {
	found := make([]bool, len(texts))
	for i := range found {
		found[i] = true
	}
	return s.score(s.Questions, texts, found)
}

func (s *Set) score(questions []*Question, texts []string, found []bool) (*Result, []Row) {
	r := &Result{Task: s.task.name, N: len(questions)}
	rows := make([]Row, len(questions))
	sum, known := 0.0, len(questions) > 0
	for i, q := range questions {
		rows[i].ID = q.key
		prediction, right, correct := s.task.score(q, texts[i], found[i])
		rows[i].Prediction = prediction
		if !found[i] {
			r.Missing++
		}
		if q.gold == nil {
			known = false
			continue
		}
		rows[i].Answer, rows[i].Correct = right, &correct
		sum += correct
	}
	if known {
		r.Correct = &sum
		if s.task.further != nil {
			r.Further = s.task.further(rows)
		}
	}
	return r, rows
}
