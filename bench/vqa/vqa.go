// Package vqa reads the questions of benchmarks about images in their official formats,
// writes answers in the form that their own scorers take, and scores answers by the metrics
// of lmms-eval and of LLaVA's scripts. It runs no model.
package vqa

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
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

// gold is the right answer of a question.
type gold struct {
	choice     int      // ScienceQA: the index
	label      string   // POPE: yes or no
	annotators []string // TextVQA, VizWiz
}

// answer is what a model, or a file, says to a question.
type answer struct {
	id       id
	text     string
	question string // the question as the file repeats it, "" = it does not
	numbered bool   // the row has an id
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

// ScoreFile scores answers that another program wrote. Without questions or annotations,
// the answers are only read.
func (s *Set) ScoreFile(path string) (*Result, []Row, error) {
	d, err := readDocument(path)
	if err != nil {
		return nil, nil, err
	}
	answers, err := readAnswers(d)
	if err != nil {
		return nil, nil, err
	}
	if len(answers) == 0 {
		return nil, nil, fmt.Errorf("%s: want answers, got none", path)
	}
	questions := s.Questions
	if questions == nil {
		for _, a := range answers {
			if !a.numbered {
				return nil, nil, fmt.Errorf("%s: the answers have no question_id: want --questions or --annotations with as many questions in the same order", path)
			}
			questions = append(questions, &Question{ID: string(a.id), key: a.id})
		}
		if err := checkUnique(path, questions); err != nil {
			return nil, nil, err
		}
	}
	texts, found := make([]string, len(questions)), make([]bool, len(questions))
	if !answers[0].numbered { // by their order, as POPE's own scorer takes them
		if len(answers) != len(questions) {
			return nil, nil, fmt.Errorf("%s: answers without question_id: want as many as questions, %d, got %d", path, len(questions), len(answers))
		}
		for i, a := range answers {
			texts[i], found[i] = a.text, true
		}
	} else if err := s.assign(path, answers, questions, texts, found); err != nil {
		return nil, nil, err
	}
	r, rows := s.score(questions, texts, found)
	if r.Missing > 0 {
		slog.Warn("questions without an answer count as wrong", "file", path, "questions", r.Missing)
	}
	return r, rows, nil
}

// assign finds the question of each answer.
func (s *Set) assign(path string, answers []answer, questions []*Question, texts []string, found []bool) error {
	index := make(map[string]int, len(questions))
	at := make(map[*Question]int, len(questions))
	for i, q := range questions {
		index[q.ID], at[q] = i, i
	}
	for _, a := range answers {
		i, ok := index[string(a.id)]
		if s.task.match != nil { // several questions may share an id
			if q := s.task.match(a, questions); q != nil {
				i, ok = at[q], true
			}
		}
		if !ok {
			return fmt.Errorf("%s: question %s: no such question", path, a.id)
		}
		if found[i] {
			return fmt.Errorf("%s: question %s is answered twice", path, a.id)
		}
		texts[i], found[i] = a.text, true
	}
	return nil
}

// readAnswers reads LLaVA's lines (question_id, prompt, text), its result JSON of ScienceQA
// (outputs by question), and the benchmarks' own lists (question_id or image, answer).
func readAnswers(d *document) ([]answer, error) {
	if d.object != nil {
		return objectAnswers(d)
	}
	var out []answer
	err := each(d, func(where string, r struct {
		QuestionID *id     `json:"question_id"`
		Image      *id     `json:"image"`
		Prompt     string  `json:"prompt"`
		Question   string  `json:"question"`
		Text       *string `json:"text"`
		Answer     *string `json:"answer"`
	}) error {
		a := answer{question: r.Prompt + r.Question}
		switch {
		case r.QuestionID != nil:
			a.id, a.numbered = *r.QuestionID, true
		case r.Image != nil:
			a.id, a.numbered = *r.Image, true
		}
		switch {
		case r.Text != nil:
			a.text = *r.Text
		case r.Answer != nil:
			a.text = *r.Answer
		default:
			return fmt.Errorf("%s: want a text or an answer", where)
		}
		if len(out) > 0 && out[0].numbered != a.numbered {
			return fmt.Errorf("%s: want a question_id in all rows or in none", where)
		}
		out = append(out, a)
		return nil
	})
	return out, err
}

// objectAnswers reads LLaVA's result JSON of ScienceQA, in the order of the file.
func objectAnswers(d *document) ([]answer, error) {
	raw, ok := d.object["outputs"]
	if !ok {
		return nil, fmt.Errorf("%s: want lines of JSON objects, a list of them, or an object with outputs", d.path)
	}
	texts := map[string]string{}
	if err := json.Unmarshal(raw, &texts); err != nil {
		return nil, fmt.Errorf("%s: outputs: want texts by question: %w", d.path, shortJSON(err))
	}
	var out []answer
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		if _, err := decoder.Token(); err != nil {
			return nil, err
		}
		key := name.(string)
		out = append(out, answer{id: id(key), text: texts[key], numbered: true})
	}
	return out, nil
}

// WriteAnswers writes the answers as the benchmark's own scorer takes them. model names the
// model in the formats that have a place for it.
func (s *Set) WriteAnswers(path string, texts []string, model string) error {
	data, err := s.task.answers(s.Questions[:len(texts)], texts, model, s.lines)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o666)
}

// lines writes rows, a line each.
func lines[Row any](rows []Row) ([]byte, error) {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return nil, err
		}
	}
	return []byte(out.String()), nil
}

// WriteLog writes the rows of a log, a line each.
func WriteLog(path string, rows []Row) error {
	data, err := lines(rows)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o666)
}

// llavaAnswer is a line of the answers that LLaVA's scripts write and score.
type llavaAnswer struct {
	QuestionID id             `json:"question_id"`
	Prompt     string         `json:"prompt"`
	Text       string         `json:"text"`
	AnswerID   string         `json:"answer_id"`
	ModelID    string         `json:"model_id"`
	Metadata   map[string]any `json:"metadata"`
}

func llavaAnswers(questions []*Question, texts []string, model string) []llavaAnswer {
	out := make([]llavaAnswer, len(questions))
	for i, q := range questions {
		prompt := q.Prompt
		if q.Image != nil {
			prompt = "<image>\n" + prompt // the scripts count questions with images by it
		}
		out[i] = llavaAnswer{q.key, prompt, texts[i], fmt.Sprintf("%s-%d", model, i), model, map[string]any{}}
	}
	return out
}
