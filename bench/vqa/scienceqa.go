package vqa

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// letterOnly is what LLaVA and lmms-eval append to the questions of ScienceQA.
const letterOnly = "Answer with the option's letter from the given choices directly."

func scienceQA() *benchmark {
	return &benchmark{
		name: "scienceqa", maxTokens: 16,
		questions: scienceQuestions, annotate: scienceQuestions, score: scoreScience,
		answers: func(questions []*Question, texts []string, model string, _ bool) ([]byte, error) {
			return lines(llavaAnswers(questions, texts, model))
		},
	}
}

// problem is a question of problems.json.
type problem struct {
	Question *string  `json:"question"`
	Choices  []string `json:"choices"`
	Answer   *int     `json:"answer"`
	Hint     string   `json:"hint"`
	Image    *string  `json:"image"`
	Split    string   `json:"split"`
}

// scienceQuestions reads problems.json, an object by question, of which the test split
// counts where there is one; or LLaVA's list of conversations.
func scienceQuestions(d *document) ([]*Question, error) {
	if d.object == nil {
		return scienceConversations(d)
	}
	problems := make(map[string]problem, len(d.object))
	test := false
	for name, raw := range d.object {
		var p problem
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("%s: question %s: %w", d.path, name, shortJSON(err))
		}
		if p.Question == nil || len(p.Choices) == 0 || len(p.Choices) > 26 {
			return nil, fmt.Errorf("%s: question %s: want a question and 1 to 26 choices, got %d", d.path, name, len(p.Choices))
		}
		if p.Answer != nil && (*p.Answer < 0 || *p.Answer >= len(p.Choices)) {
			return nil, fmt.Errorf("%s: question %s: answer: want the index of one of %d choices, got %d", d.path, name, len(p.Choices), *p.Answer)
		}
		problems[name], test = p, test || p.Split == "test"
	}
	var out []*Question
	for name, p := range problems {
		if test && p.Split != "test" {
			continue
		}
		q := &Question{ID: name, key: id(name), Text: *p.Question, choices: p.Choices}
		if p.Hint != "" {
			q.Prompt = "Context: " + p.Hint + "\n"
		}
		q.Prompt += *p.Question
		for i, c := range p.Choices {
			q.Prompt += fmt.Sprintf("\n%c. %s", 'A'+i, c)
		}
		q.Prompt += "\n" + letterOnly
		if p.Image != nil && *p.Image != "" {
			q.Image = []string{path.Join(name, *p.Image), path.Join(cmp.Or(p.Split, "test"), name, *p.Image)}
		}
		if p.Answer != nil {
			q.gold = &gold{choice: *p.Answer}
		}
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b *Question) int { // by number
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

func scienceConversations(d *document) ([]*Question, error) {
	var out []*Question
	err := each(d, func(where string, r struct {
		ID            *id    `json:"id"`
		Image         string `json:"image"`
		Conversations []struct {
			Value string `json:"value"`
		} `json:"conversations"`
	}) error {
		if r.ID == nil || len(r.Conversations) == 0 {
			return fmt.Errorf("%s: want an id and conversations", where)
		}
		text := strings.TrimSpace(strings.ReplaceAll(r.Conversations[0].Value, "<image>", ""))
		q := &Question{ID: string(*r.ID), key: *r.ID, Text: text, Prompt: text}
		if !strings.Contains(text, letterOnly) {
			q.Prompt += "\n" + letterOnly
		}
		if r.Image != "" {
			q.Image = []string{r.Image}
		}
		out = append(out, q)
		return nil
	})
	return out, err
}

var (
	firstLetter = regexp.MustCompile(`^([A-Z])\.`)
	theAnswerIs = regexp.MustCompile(`The answer is ([A-Z]).`)
)

// noChoice is the prediction of an answer that names no choice.
const noChoice = -1

// choiceOf is the index of the choice that an answer names: a letter alone, a letter and a
// period at the start, or "The answer is X." once in a longer text.
func choiceOf(text string) int {
	text = strings.TrimSpace(text)
	if len(text) == 1 {
		if c := strings.ToUpper(text)[0]; c >= 'A' && c <= 'Z' {
			return int(c - 'A')
		}
	}
	if m := firstLetter.FindStringSubmatch(text); m != nil {
		return int(m[1][0] - 'A')
	}
	if m := theAnswerIs.FindAllStringSubmatch(text, -1); len(m) == 1 {
		return int(m[0][1][0] - 'A')
	}
	return noChoice
}

func scoreScience(q *Question, text string, found bool) (prediction, right any, correct float64) {
	choice := noChoice
	if found {
		choice = choiceOf(text)
	}
	if q.choices != nil && choice >= len(q.choices) {
		choice = noChoice
	}
	if q.gold == nil {
		return choice, nil, 0
	}
	if choice == q.gold.choice {
		correct = 1
	}
	return choice, q.gold.choice, correct
}
