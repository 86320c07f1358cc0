package vqa

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mop/internal/testutil"
)

type goldenFile struct {
	Normalized [][2]string
	Agreement  []struct {
		Task, Text, Submission string
		Answers                []string
		Score                  float64
	}
	POPE struct {
		Rows []struct {
			Label, Text string
			Score       float64
		}
		Tables map[string]struct {
			Rows                       []int
			Acc, Precision, Recall, F1 float64
			YesRatio                   float64 `json:"yes_ratio"`
		}
	}
	ScienceQA []struct {
		Choices []string
		Answer  int
		Text    string
		Score   float64
	}
	Prompts []struct {
		Hint, Question, Prompt string
		Choices                []string
	}
}

// golden.json holds the values of lmms-eval's own functions; testdata/golden.py makes it.
func readGolden(t *testing.T) (g goldenFile) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestNormalizeGolden(t *testing.T) {
	g := readGolden(t)
	if len(g.Normalized) < 100 {
		t.Fatalf("want at least 100 answers, got %d", len(g.Normalized))
	}
	for _, c := range g.Normalized {
		if got := Normalize(c[0]); got != c[1] {
			t.Errorf("%q: want %q, got %q", c[0], c[1], got)
		}
	}
	for _, c := range g.Agreement {
		if got := Agreement(c.Text, c.Answers); math.Abs(got-c.Score) > 1e-12 {
			t.Errorf("%q by %q: want %v, got %v", c.Text, c.Answers, c.Score, got)
		}
		if got := Normalize(c.Text); got != c.Submission {
			t.Errorf("%q: want %q, got %q", c.Text, c.Submission, got)
		}
	}
}

// write makes a file of JSON rows, or of one value.
func write(t *testing.T, name string, rows ...any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	var out []byte
	for _, r := range rows {
		line, ok := r.(string)
		if !ok {
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			line = string(data)
		}
		out = append(out, line+"\n"...)
	}
	if err := os.WriteFile(path, out, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

type object = map[string]any

// asMap is a result as JSON.
func asMap(t *testing.T, r *Result) map[string]any {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPOPEGolden(t *testing.T) {
	g := readGolden(t).POPE
	for name, table := range g.Tables {
		var questions, answers []any
		want := 0.0
		for _, i := range table.Rows {
			r := g.Rows[i]
			questions = append(questions, object{"question_id": i, "image": "x.jpg", "text": fmt.Sprintf("Is there a %d?", i), "label": r.Label})
			answers = append(answers, object{"question_id": i, "text": r.Text})
			want += r.Score
		}
		s, err := Open("pope", write(t, "q.jsonl", questions...), "")
		if err != nil {
			t.Fatal(err)
		}
		r, rows, err := s.ScoreFile(write(t, "a.jsonl", answers...))
		if err != nil {
			t.Fatal(err)
		}
		for j, i := range table.Rows {
			if *rows[j].Correct != g.Rows[i].Score {
				t.Errorf("%s: row %d: want %v, got %v", name, i, g.Rows[i].Score, *rows[j].Correct)
			}
		}
		m := asMap(t, r)
		for key, w := range map[string]float64{"acc": table.Acc, "precision": table.Precision, "recall": table.Recall, "f1": table.F1, "yes_ratio": table.YesRatio, "correct": want} {
			if v, ok := m[key].(float64); !ok || math.Abs(v-w) > 1e-9 {
				t.Errorf("%s: %s: want %v, got %v", name, key, w, m[key])
			}
		}
	}
}

func TestScienceQAGolden(t *testing.T) {
	g := readGolden(t)
	for i, c := range g.ScienceQA {
		problems := write(t, "problems.json", object{"4": object{"question": "q", "choices": c.Choices, "answer": c.Answer, "hint": "", "image": nil, "split": "test"}})
		s, err := Open("scienceqa", problems, problems)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := s.Score([]string{c.Text})
		if *r.Correct != c.Score {
			t.Errorf("row %d: %q of %d choices, answer %d: want %v, got %v", i, c.Text, len(c.Choices), c.Answer, c.Score, *r.Correct)
		}
	}
	for _, c := range g.Prompts {
		s, err := Open("scienceqa", write(t, "problems.json", object{"4": object{"question": c.Question, "choices": c.Choices, "answer": 0, "hint": c.Hint}}), "")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Questions[0].Prompt; got != c.Prompt {
			t.Errorf("want prompt %q, got %q", c.Prompt, got)
		}
	}
}

// The predictions from the outputs of LLaVA's result file are those that it records. One
// output names a choice that its question lacks, for which LLaVA's script drew another.
func TestScienceQAOfLLaVA(t *testing.T) {
	path := testutil.DataPath(t, "llava/haotian-liu/test_sqa_llava_13b_v0.json")
	var file struct{ Results map[string]int }
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	s, err := Open("scienceqa", "", "")
	if err != nil {
		t.Fatal(err)
	}
	r, rows, err := s.ScoreFile(path)
	if err != nil {
		t.Fatal(err)
	}
	equal := 0
	for _, row := range rows {
		if row.Prediction == file.Results[string(row.ID)] {
			equal++
		} else {
			t.Logf("question %s: recorded %d, got %v", row.ID, file.Results[string(row.ID)], row.Prediction)
		}
	}
	if r.N != 4241 || equal != 4240 || r.Correct != nil {
		t.Errorf("want 4240 of 4241 and no score, got %d of %d, %v", equal, r.N, r.Correct)
	}
}
