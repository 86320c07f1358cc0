package vqa

import (
	"encoding/json"
	"fmt"
	"strings"
)

// unanswerable is what LLaVA and lmms-eval ask in VizWiz.
const unanswerable = "When the provided information is insufficient, respond with 'Unanswerable'."

func vizWiz() *benchmark {
	return &benchmark{name: "vizwiz", maxTokens: 16, questions: vizWizQuestions, annotate: vizWizAnnotations, score: scoreAgreement, answers: vizWizAnswers}
}

// vizWizQuestions reads VizWiz's own list of image and question, with answers or not, or
// LLaVA's lines of question_id, image and text. A question is named by its image.
func vizWizQuestions(d *document) ([]*Question, error) {
	if d.object != nil {
		return nil, fmt.Errorf("%s: want a list of image and question, or lines of image and text", d.path)
	}
	var out []*Question
	err := each(d, func(where string, r struct {
		Image    string `json:"image"`
		Question string `json:"question"`
		Text     string `json:"text"`
		Answers  []struct {
			Answer string `json:"answer"`
		} `json:"answers"`
	}) error {
		if r.Image == "" || r.Question+r.Text == "" {
			return fmt.Errorf("%s: want image and question, or image and text", where)
		}
		q := &Question{ID: r.Image, key: id(r.Image), Image: []string{r.Image}}
		if r.Question != "" {
			q.Text, q.Prompt = r.Question, capitalize(r.Question)+"\n"+unanswerable+"\n"+oneWord
		} else {
			q.Text, q.Prompt = questionOf(r.Text), r.Text
		}
		if len(r.Answers) > 0 {
			q.gold = &gold{}
			for _, a := range r.Answers {
				q.gold.annotators = append(q.gold.annotators, a.Answer)
			}
		}
		out = append(out, q)
		return nil
	})
	return out, err
}

func vizWizAnnotations(d *document) ([]*Question, error) {
	questions, err := vizWizQuestions(d)
	if err != nil {
		return nil, err
	}
	for _, q := range questions {
		if q.gold == nil {
			return nil, fmt.Errorf("%s: image %s: want answers", d.path, q.ID)
		}
		q.Text = strings.TrimSpace(q.Text)
	}
	return questions, nil
}

// vizWizAnswers writes EvalAI's list.
func vizWizAnswers(questions []*Question, texts []string, _ string, _ bool) ([]byte, error) {
	type row struct {
		Image  string `json:"image"`
		Answer string `json:"answer"`
	}
	rows := make([]row, len(questions))
	for i, q := range questions {
		rows[i] = row{q.ID, Normalize(texts[i])}
	}
	return json.MarshalIndent(rows, "", " ")
}
