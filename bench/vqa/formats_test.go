package vqa

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each benchmark's official files are read; a log, the score and the answers follow by hand.
func TestFormats(t *testing.T) {
	ten := func(answers ...string) []string {
		for len(answers) < 10 {
			answers = append(answers, "other")
		}
		return answers
	}
	type annotated struct {
		Answer     string `json:"answer"`
		Confidence string `json:"answer_confidence"`
	}
	var wiz []annotated
	for _, a := range ten("unanswerable", "unanswerable", "unanswerable", "unanswerable") {
		wiz = append(wiz, annotated{a, "yes"})
	}
	problems := object{
		"12": object{"question": "Which?", "choices": []string{"x", "y"}, "answer": 1, "hint": "h", "image": "image.png", "split": "test"},
		"3":  object{"question": "Who?", "choices": []string{"x", "y", "z"}, "answer": 0, "hint": "", "image": nil, "split": "test"},
		"1":  object{"question": "Train?", "choices": []string{"x", "y"}, "answer": 0, "split": "train"},
	}
	text := object{"data": []object{
		{"question_id": 5, "image_id": "ab", "question": "what is the BRAND?", "answers": ten("nokia", "nokia", "nokia", "nokia")},
		{"question_id": 6, "image_id": "ab", "question": "how many?", "answers": ten("2", "two")},
	}}
	for _, c := range []struct {
		name, task             string
		questions, annotations []any
		texts                  []string
		prompts, images        []string
		score                  string // the result as JSON
		log                    []string
		answers                string // of the answers' file
	}{
		{
			name: "scienceqa problems.json", task: "scienceqa", questions: []any{problems}, annotations: []any{problems},
			texts:   []string{"A. x", "The answer is C."},
			prompts: []string{"Who?\nA. x\nB. y\nC. z\n" + letterOnly, "Context: h\nWhich?\nA. x\nB. y\n" + letterOnly}, images: []string{"", "12/image.png"},
			score:   `{"acc":50,"correct":1,"n":2,"task":"scienceqa","unanswered":0}`,
			log:     []string{`{"id":3,"prediction":0,"answer":0,"correct":1}`, `{"id":12,"prediction":-1,"answer":1,"correct":0}`},
			answers: `"question_id":12,"prompt":"<image>\nContext: h`,
		},
		{
			name: "scienceqa conversations", task: "scienceqa",
			questions: []any{[]object{{"id": "3", "image": "3/image.png", "conversations": []object{{"from": "human", "value": "<image>\nWho?\nA. x\nB. y"}, {"from": "gpt", "value": "A"}}}}},
			texts:     []string{"B"}, prompts: []string{"Who?\nA. x\nB. y\n" + letterOnly}, images: []string{"3/image.png"},
			score: `{"acc":null,"correct":null,"n":1,"task":"scienceqa","unanswered":0}`, log: []string{`{"id":3,"prediction":1,"answer":null,"correct":null}`},
			answers: `{"question_id":3,"prompt":"<image>\nWho?`,
		},
		{
			name: "pope", task: "pope",
			questions: []any{object{"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "yes"}, object{"question_id": 2, "image": "a.jpg", "text": "Is there a cat?", "label": "no"}},
			texts:     []string{"Yes", "yes"}, prompts: []string{"Is there a dog in the image?\n" + oneWord, "Is there a cat?\n" + oneWord}, images: []string{"a.jpg", "a.jpg"},
			score:   `{"acc":50,"correct":1,"f1":66.66666666666666,"n":2,"precision":50,"recall":100,"task":"pope","unanswered":0,"yes_ratio":50,"yes_share":100}`,
			log:     []string{`{"id":1,"prediction":"yes","answer":"yes","correct":1}`, `{"id":2,"prediction":"yes","answer":"no","correct":0}`},
			answers: `"question":"Is there a cat?","answer":"yes"}`,
		},
		{
			name: "textvqa", task: "textvqa", questions: []any{text}, annotations: []any{text},
			texts: []string{"Nokia.", "2"}, prompts: []string{"What is the brand?\n" + oneWord, "How many?\n" + oneWord}, images: []string{"ab.jpg", "ab.jpg"},
			score:   `{"acc":80,"correct":1.6,"n":2,"task":"textvqa","unanswered":0}`,
			log:     []string{`"prediction":"nokia","answer":["nokia",`, `"correct":0.6`},
			answers: `"answer": "nokia"`,
		},
		{
			name: "textvqa in LLaVA's lines", task: "textvqa",
			questions:   []any{object{"question_id": "ab", "image": "ab.jpg", "text": "how many?\nReference OCR token: x\n" + oneWord, "category": "default"}, object{"question_id": "ab", "image": "ab.jpg", "text": "what is the BRAND?\n" + oneWord}},
			annotations: []any{text},
			texts:       []string{"two", "x"}, prompts: []string{"how many?\nReference OCR token: x\n" + oneWord, "what is the BRAND?\n" + oneWord}, images: []string{"ab.jpg", "ab.jpg"},
			score: `{"acc":30,"correct":0.6,"n":2,"task":"textvqa","unanswered":0}`, log: []string{`{"id":"ab","prediction":"2"`, `{"id":"ab","prediction":"x"`},
			answers: `{"question_id":"ab","prompt":"how many?\nReference`,
		},
		{
			name: "vizwiz", task: "vizwiz", questions: []any{[]object{{"image": "v1.jpg", "question": "what is THIS"}}},
			annotations: []any{[]object{{"image": "v1.jpg", "question": "what is THIS", "answers": wiz, "answerable": 0}, {"image": "v2.jpg", "question": "x", "answers": wiz}}},
			texts:       []string{"Unanswerable"}, prompts: []string{"What is this\n" + unanswerable + "\n" + oneWord}, images: []string{"v1.jpg"},
			score: `{"acc":100,"correct":1,"n":1,"task":"vizwiz","unanswered":0}`, log: []string{`{"id":"v1.jpg","prediction":"unanswerable"`}, answers: `"image": "v1.jpg"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			annotations := ""
			if c.annotations != nil {
				annotations = write(t, "annotations", c.annotations...)
			}
			s, err := Open(c.task, write(t, "questions", c.questions...), annotations)
			if err != nil {
				t.Fatal(err)
			}
			for i, q := range s.Questions {
				if q.Prompt != c.prompts[i] {
					t.Errorf("question %d: want prompt %q, got %q", i, c.prompts[i], q.Prompt)
				}
				if image := strings.Join(append(q.Image, "")[:1], ""); image != c.images[i] {
					t.Errorf("question %d: want image %q, got %q", i, c.images[i], q.Image)
				}
			}
			check := func(r *Result, rows []Row) {
				t.Helper()
				got, err := json.Marshal(r)
				if err != nil || string(got) != c.score {
					t.Errorf("want %s\ngot  %s, %v", c.score, got, err)
				}
				path := filepath.Join(t.TempDir(), "log")
				if err := WriteLog(path, rows); err != nil {
					t.Fatal(err)
				}
				log, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for i, line := range strings.Split(strings.TrimSpace(string(log)), "\n") {
					if !strings.Contains(line, c.log[i]) {
						t.Errorf("log: want %s, got %s", c.log[i], line)
					}
				}
			}
			r, rows := s.Score(c.texts)
			check(r, rows)
			path := filepath.Join(t.TempDir(), "answers")
			if err := s.WriteAnswers(path, c.texts, "m"); err != nil {
				t.Fatal(err)
			}
			written, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(written), c.answers) {
				t.Errorf("answers: want %s, got %s", c.answers, written)
			}
			// What was written scores the same.
			r, rows, err = s.ScoreFile(path)
			if err != nil {
				t.Fatal(err)
			}
			check(r, rows)
		})
	}
}

// POPE's own answers have no ids: their order counts. A missing answer is wrong.
func TestAnswersByOrderAndMissing(t *testing.T) {
	s, err := Open("pope", write(t, "q", object{"question_id": 1, "image": "a", "text": "A?", "label": "yes"}, object{"question_id": 2, "image": "a", "text": "B?", "label": "no"}), "")
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := s.ScoreFile(write(t, "a", object{"question": "A?", "answer": "yes"}, object{"question": "B?", "answer": "no"}))
	if err != nil || *r.Correct != 2 {
		t.Errorf("got %v, %v", r, err)
	}
	r, rows, err := s.ScoreFile(write(t, "a", object{"question_id": 2, "text": "no"}))
	if err != nil || *r.Correct != 1 || r.Missing != 1 || r.N != 2 || *rows[0].Correct != 0 {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestBadFiles(t *testing.T) {
	problem := object{"question": "q", "choices": []string{"x"}, "answer": 0}
	pope := object{"question_id": 1, "image": "a", "text": "A?", "label": "yes"}
	for _, c := range []struct {
		task                            string
		questions, annotations, answers []any
		want                            string
	}{
		{task: "vqa2", want: "want one of scienceqa, pope, textvqa, vizwiz, got \"vqa2\""},
		{task: "pope", questions: []any{""}, want: "empty file"},
		{task: "pope", questions: []any{"hello"}, want: "line 1: want a JSON object"},
		{task: "pope", questions: []any{pope, "{"}, want: "line 2: want a JSON object"},
		{task: "pope", questions: []any{pope, pope}, want: "question 1 stands twice"},
		{task: "pope", questions: []any{object{"question_id": 1}}, want: "row 1: want question_id, image and text"},
		{task: "pope", questions: []any{object{"question_id": 1, "image": "a", "text": "t", "label": "maybe"}}, want: "want yes or no, got \"maybe\""},
		{task: "pope", questions: []any{object{"question_id": []int{1}, "image": "a", "text": "t"}}, want: "row 1"},
		{task: "pope", questions: []any{pope}, annotations: []any{object{"question_id": 1, "image": "a", "text": "Another?", "label": "yes"}}, want: "the annotation is about \"Another?\""},
		{task: "pope", questions: []any{pope}, annotations: []any{object{"question_id": 2, "image": "a", "text": "A?", "label": "yes"}}, want: "question 1 has no annotation"},
		{task: "pope", questions: []any{pope}, answers: []any{object{"question_id": 9, "text": "yes"}}, want: "question 9: no such question"},
		{task: "pope", questions: []any{pope}, answers: []any{object{"question_id": 1, "text": "yes"}, object{"question_id": 1, "text": "no"}}, want: "question 1 is answered twice"},
		{task: "pope", questions: []any{pope}, answers: []any{object{"question_id": 1}}, want: "want a text or an answer"},
		{task: "pope", questions: []any{pope}, answers: []any{object{"answer": "yes"}, object{"answer": "no"}}, want: "want as many as questions, 1, got 2"},
		{task: "pope", answers: []any{object{"answer": "yes"}}, want: "the answers have no question_id"},
		{task: "scienceqa", questions: []any{object{"1": object{"question": "q", "choices": []string{}}}}, want: "1 to 26 choices, got 0"},
		{task: "scienceqa", questions: []any{object{"1": object{"question": "q", "choices": []string{"x"}, "answer": 1}}}, want: "the index of one of 1 choices, got 1"},
		{task: "scienceqa", questions: []any{[]object{{"id": 1}}}, want: "want an id and conversations"},
		{task: "scienceqa", questions: []any{object{"1": problem}}, answers: []any{object{"acc": 1}}, want: "an object with outputs"},
		{task: "textvqa", questions: []any{object{"x": 1}}, want: "want an object with data"},
		{task: "textvqa", questions: []any{object{"data": []object{{"question_id": 1}}}}, want: "row 1"},
		{task: "vizwiz", questions: []any{object{"data": 1}}, want: "want a list"},
		{task: "vizwiz", questions: []any{[]object{{"image": "a"}}}, want: "want image and question"},
	} {
		path := func(name string, rows []any) string {
			if rows == nil {
				return ""
			}
			return write(t, name, rows...)
		}
		s, err := Open(c.task, path("questions", c.questions), path("annotations", c.annotations))
		if err == nil && c.answers != nil {
			_, _, err = s.ScoreFile(path("answers", c.answers))
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: want an error with %q, got %v", c, c.want, err)
		}
	}
}
