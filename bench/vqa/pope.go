package vqa

import (
	"fmt"
	"strings"
)

// oneWord is what LLaVA and lmms-eval append to questions with short answers.
const oneWord = "Answer the question using a single word or phrase."

func pope() *benchmark {
	return &benchmark{name: "pope", maxTokens: 128, questions: popeQuestions, annotate: popeLabels, score: scorePOPE, further: popeMetrics, answers: popeAnswers}
}

// popeQuestions reads lines of question_id, image and text, with a label or not.
func popeQuestions(d *document) ([]*Question, error) {
	var out []*Question
	err := each(d, func(where string, r struct {
		ID    *id    `json:"question_id"`
		Image string `json:"image"`
		Text  string `json:"text"`
		Label string `json:"label"`
	}) error {
		if r.ID == nil || r.Image == "" || r.Text == "" {
			return fmt.Errorf("%s: want question_id, image and text", where)
		}
		q := &Question{ID: string(*r.ID), key: *r.ID, Image: []string{r.Image}, Text: strings.TrimSpace(r.Text)}
		q.Prompt = q.Text
		if !strings.Contains(q.Text, oneWord) {
			q.Prompt += "\n" + oneWord
		}
		q.Text, _, _ = strings.Cut(q.Text, "\n")
		var err error
		q.gold, err = popeGold(where, r.Label, false)
		out = append(out, q)
		return err
	})
	if d.object != nil {
		return nil, fmt.Errorf("%s: want lines of question_id, image and text", d.path)
	}
	return out, err
}

func popeGold(where, label string, needed bool) (*gold, error) {
	switch l := strings.ToLower(strings.TrimSpace(label)); l {
	case "yes", "no":
		return &gold{label: l}, nil
	case "":
		if !needed {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("%s: label: want yes or no, got %q", where, label)
}

// popeLabels reads POPE's own files, which are questions with labels.
func popeLabels(d *document) ([]*Question, error) {
	questions, err := popeQuestions(d)
	if err != nil {
		return nil, err
	}
	for _, q := range questions {
		if q.gold == nil {
			return nil, fmt.Errorf("%s: question %s: want a label", d.path, q.ID)
		}
	}
	return questions, nil
}

func scorePOPE(q *Question, text string, found bool) (prediction, right any, correct float64) {
	said := strings.ToLower(strings.TrimSpace(text))
	if q.gold == nil {
		return said, nil, 0
	}
	if found && said == q.gold.label {
		correct = 1
	}
	return said, q.gold.label, correct
}

// popeMetrics are lmms-eval's, in percent. An answer that is neither yes nor no is in no
// count but that of all questions; yes_ratio is the share of yes among the labels, as
// lmms-eval has it, and yes_share that among all answers, as POPE's own scorer has it.
func popeMetrics(rows []Row) []Metric {
	counts := map[[2]any]float64{} // by label and prediction
	labelled, said := 0.0, 0.0
	for _, r := range rows {
		counts[[2]any{r.Answer, r.Prediction}]++
		if r.Answer == "yes" {
			labelled++
		}
		if r.Prediction == "yes" {
			said++
		}
	}
	truePositive := counts[[2]any{"yes", "yes"}]
	precision := share(truePositive, truePositive+counts[[2]any{"no", "yes"}])
	recall := share(truePositive, truePositive+counts[[2]any{"yes", "no"}])
	n := float64(len(rows))
	return []Metric{
		{"precision", 100 * precision}, {"recall", 100 * recall}, {"f1", 100 * share(2*precision*recall, precision+recall)},
		{"yes_ratio", 100 * share(labelled, n)}, {"yes_share", 100 * share(said, n)},
	}
}

func share(part, of float64) float64 {
	if of == 0 {
		return 0
	}
	return part / of
}

// popeAnswers writes lines that both LLaVA's scorer (question_id, text) and POPE's own
// (question, answer, in the order of the questions) take.
func popeAnswers(questions []*Question, texts []string, model string, _ bool) ([]byte, error) {
	type line struct {
		llavaAnswer
		Question string `json:"question"`
		Answer   string `json:"answer"`
	}
	rows := make([]line, len(questions))
	for i, a := range llavaAnswers(questions, texts, model) {
		rows[i] = line{a, questions[i].Text, texts[i]}
	}
	return lines(rows)
}
