package vqa

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

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
