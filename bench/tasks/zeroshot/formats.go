package zeroshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mop/internal/files"
)

var errNoGold = errors.New("it has no gold choice")

// ask makes a question of what every format has.
type ask func(question string, texts []string, gold int) (Question, error)

// decode reads a row. Keys that are not asked for are ignored.
func decode(row []byte, v any) error {
	if err := json.Unmarshal(row, v); err != nil {
		return fmt.Errorf("want an object of the task's fields: %w", files.PlainJSON(err))
	}
	return nil
}

// foundry is the format of llm-foundry: the question with its choices. It is the same for
// several tasks, so the file's path must have the hint.
func foundry(hint string, toQuestion ask) Format {
	return Format{Name: "llm-foundry's rows", Keys: []string{"query", "choices", "gold"}, Hint: hint, Parse: func(row []byte) (Question, error) {
		var r struct {
			Query   string
			Choices []string
			Gold    *int
		}
		if err := decode(row, &r); err != nil {
			return Question{}, err
		}
		if r.Gold == nil {
			return Question{}, errNoGold
		}
		return toQuestion(r.Query, r.Choices, *r.Gold)
	}}
}

// lettered is the format of the hub's data sets: choices {text, label} and answerKey. key
// is that of the question.
func lettered(key, hint string, toQuestion ask) Format {
	return Format{Name: "the data set's rows", Keys: []string{key, "choices", "answerKey"}, Hint: hint, Parse: func(row []byte) (Question, error) {
		var r struct {
			Question json.RawMessage
			Stem     string `json:"question_stem"`
			Choices  struct{ Text, Label []string }
			Key      string `json:"answerKey"`
		}
		if err := decode(row, &r); err != nil {
			return Question{}, err
		}
		question := r.Stem
		if key == "question" {
			if err := json.Unmarshal(r.Question, &question); err != nil {
				return Question{}, fmt.Errorf("question: want a string: %w", err)
			}
		}
		if len(r.Choices.Label) != len(r.Choices.Text) {
			return Question{}, fmt.Errorf("choices: want a label for each of %d texts, got %d", len(r.Choices.Text), len(r.Choices.Label))
		}
		gold, err := goldLetter(r.Choices.Label, r.Key)
		if err != nil {
			return Question{}, err
		}
		return toQuestion(question, r.Choices.Text, gold)
	}}
}

// stem is the format of the files of the Allen Institute: question {stem, choices} and
// answerKey.
func stem(hint string, toQuestion ask) Format {
	return Format{Name: "the official rows", Keys: []string{"question", "answerKey"}, Hint: hint, Parse: func(row []byte) (Question, error) {
		var r struct {
			Question struct {
				Stem    string
				Choices []struct{ Text, Label string }
			}
			Key string `json:"answerKey"`
		}
		if err := decode(row, &r); err != nil {
			return Question{}, err
		}
		if r.Question.Stem == "" {
			return Question{}, errors.New("question: want a stem, got none")
		}
		var labels, texts []string
		for _, c := range r.Question.Choices {
			labels, texts = append(labels, c.Label), append(texts, c.Text)
		}
		gold, err := goldLetter(labels, r.Key)
		if err != nil {
			return Question{}, err
		}
		return toQuestion(r.Question.Stem, texts, gold)
	}}
}

func goldLetter(labels []string, key string) (int, error) {
	if len(labels) < 2 {
		return 0, fmt.Errorf("choices: want at least 2, got %d", len(labels))
	}
	gold := slices.Index(labels, strings.TrimSpace(key))
	if gold < 0 {
		return 0, fmt.Errorf("answerKey: want one of %q, got %q", labels, key)
	}
	return gold, nil
}

// noLabel is the label of a row that has none.
const noLabel = -1

// label is a gold choice: a number, a number as a string, or a truth value.
type label int

// UnmarshalJSON reads any of the forms.
func (l *label) UnmarshalJSON(data []byte) error {
	switch text := strings.Trim(string(data), `"`); text {
	case "false":
		*l = 0
	case "true":
		*l = 1
	default:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("label: want a number or a truth value, got %s", data)
		}
		*l = label(n)
	}
	return nil
}
