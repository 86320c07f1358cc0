package vqa

import (
	"encoding/json"
	"fmt"
	"strings"
)

func textVQA() *benchmark {
	return &benchmark{name: "textvqa", maxTokens: 16, questions: textQuestions, annotate: textAnnotations, match: matchText, score: scoreAgreement, answers: textAnswers}
}

// textQuestions reads TextVQA's own file, an object with data, or LLaVA's lines of
// question_id (the image's), image and text.
func textQuestions(d *document) ([]*Question, error) {
	if d.object != nil {
		rows, ok := d.object["data"]
		if !ok {
			return nil, fmt.Errorf("%s: want an object with data, or lines of question_id, image and text", d.path)
		}
		if err := json.Unmarshal(rows, &d.rows); err != nil {
			return nil, fmt.Errorf("%s: data: want a list: %w", d.path, shortJSON(err))
		}
	}
	var out []*Question
	seen := map[string]int{}
	err := each(d, func(where string, r struct {
		ID       *id      `json:"question_id"`
		ImageID  *id      `json:"image_id"`
		Image    string   `json:"image"`
		Question string   `json:"question"`
		Text     string   `json:"text"`
		Answers  []string `json:"answers"`
	}) error {
		if r.ID == nil || r.Question+r.Text == "" || r.Image == "" && r.ImageID == nil {
			return fmt.Errorf("%s: want question_id, image_id and question, or question_id, image and text", where)
		}
		q := &Question{ID: string(*r.ID), key: *r.ID}
		switch {
		case r.Question != "":
			q.Text, q.Prompt = r.Question, capitalize(r.Question)+"\n"+oneWord
		default: // LLaVA's prompts are used as they are
			q.Text, q.Prompt = questionOf(r.Text), r.Text
		}
		if r.ImageID != nil {
			q.Image = []string{string(*r.ImageID) + ".jpg"}
		} else {
			q.Image = []string{r.Image}
			// Such lines name the image, which several questions may share.
			if seen[q.ID]++; seen[q.ID] > 1 {
				q.ID = fmt.Sprintf("%s#%d", q.ID, seen[string(q.key)])
			}
		}
		if len(r.Answers) > 0 {
			q.gold = &gold{annotators: r.Answers}
		}
		out = append(out, q)
		return nil
	})
	return out, err
}

// textAnnotations reads TextVQA's own file with the answers of the annotators.
func textAnnotations(d *document) ([]*Question, error) {
	questions, err := textQuestions(d)
	if err != nil {
		return nil, err
	}
	for _, q := range questions {
		if q.gold == nil {
			return nil, fmt.Errorf("%s: question %s: want answers", d.path, q.ID)
		}
	}
	return questions, nil
}

// capitalize is Python's: the first letter upper, all others lower.
func capitalize(s string) string {
	for i := range s {
		if i > 0 {
			return strings.ToUpper(s[:i]) + strings.ToLower(s[i:])
		}
	}
	return strings.ToUpper(s)
}

// questionOf is the question in a prompt of LLaVA's.
func questionOf(prompt string) string {
	text := strings.TrimPrefix(prompt, "<image>\n")
	first, rest, _ := strings.Cut(text, "\n")
	if strings.HasPrefix(first, "Reference OCR token:") {
		first, _, _ = strings.Cut(rest, "\n")
	}
	return first
}

// matchText finds the question of LLaVA's answers, whose id is that of the image: the text
// decides.
func matchText(a answer, all []*Question) *Question {
	text := strings.ToLower(questionOf(a.question))
	for _, q := range all {
		ofImage := len(q.Image) == 1 && strings.TrimSuffix(q.Image[0], ".jpg") == string(a.id) || q.key == a.id
		if ofImage && strings.ToLower(q.Text) == text {
			return q
		}
	}
	return nil
}

// scoreAgreement is the VQA accuracy.
func scoreAgreement(q *Question, text string, found bool) (prediction, right any, correct float64) {
	said := Normalize(text)
	if q.gold == nil {
		return said, nil, 0
	}
	if found {
		correct = Agreement(text, q.gold.annotators)
	}
	return said, q.gold.annotators, correct
}

// textAnswers writes EvalAI's list, or LLaVA's lines where the questions came so.
func textAnswers(questions []*Question, texts []string, model string, fromLines bool) ([]byte, error) {
	if fromLines {
		rows := llavaAnswers(questions, texts, model)
		for i, q := range questions {
			rows[i].Prompt = q.Prompt // the scorer reads the question from it
		}
		return lines(rows)
	}
	type row struct {
		ID     id     `json:"question_id"`
		Answer string `json:"answer"`
	}
	rows := make([]row, len(questions))
	for i, q := range questions {
		rows[i] = row{q.key, Normalize(texts[i])}
	}
	return json.MarshalIndent(rows, "", " ")
}
