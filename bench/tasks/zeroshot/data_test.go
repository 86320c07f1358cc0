package zeroshot

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mop/internal/testutil"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// Every form of a task's data gives the same question.
func TestFormsAgree(t *testing.T) {
	for _, c := range []struct {
		task  string
		files map[string]string // one form each, under a path of its own
	}{
		{"piqa", map[string]string{
			"hub/v.jsonl":          `{"goal":"dry a dog","sol1":"with a towel","sol2":"with a net","label":1}`,
			"official/valid.jsonl": `{"goal":"dry a dog","sol1":"with a towel","sol2":"with a net"}`,
			"foundry/piqa.jsonl":   `{"query":"Question: dry a dog\n","choices":["with a towel","with a net"],"gold":1}`}},
		{"hellaswag", map[string]string{
			"hub/h.jsonl":      `{"activity_label":"Reading","ctx_a":"A girl sits.","ctx_b":"she","endings":["reads.","runs.","eats.","sings."],"label":"2"}`,
			"official/h.jsonl": `{"ind":4,"activity_label":"Reading","ctx_a":"A girl sits.","ctx_b":"she","ctx":"A girl sits. she","endings":["reads.","runs.","eats.","sings."],"label":2}`,
			"llamacpp/h.txt":   "Reading: A girl sits. she\n2\nreads.\nruns.\neats.\nsings.\n"}},
		{"winogrande", map[string]string{
			"official/dev.jsonl":       `{"qID":"x","sentence":"Tom fed Sam since _ was hungry.","option1":"Tom","option2":"Sam","answer":"2"}`,
			"foundry/winogrande.jsonl": `{"context_options":["Tom fed Sam since Tom","Tom fed Sam since Sam"],"continuation":"was hungry.","gold":1}`}},
		{"arc_easy", map[string]string{
			"hub/arc_easy.jsonl":           `{"id":"1","question":"Which is hot?","choices":{"text":["ice","fire"],"label":["A","B"]},"answerKey":"B"}`,
			"official/ARC-Easy-Test.jsonl": `{"id":"1","question":{"stem":"Which is hot?","choices":[{"text":"ice","label":"A"},{"text":"fire","label":"B"}]},"answerKey":"B"}`,
			"foundry/arc_easy.jsonl":       `{"query":"Question: Which is hot?","choices":["ice","fire"],"gold":1}`}},
		{"openbookqa", map[string]string{
			"hub/o.jsonl":                    `{"question_stem":"A bird","choices":{"text":["flies","drives"],"label":["A","B"]},"answerKey":"A"}`,
			"official/OpenBookQA/test.jsonl": `{"question":{"stem":"A bird","choices":[{"text":"flies","label":"A"},{"text":"drives","label":"B"}]},"answerKey":"A"}`,
			"foundry/openbook_qa.jsonl":      `{"query":"A bird","choices":["flies","drives"],"gold":0}`}},
		{"boolq", map[string]string{
			"hub/val.jsonl":       `{"passage":"Ice is cold.","question":"is ice hot","idx":0,"label":0}`,
			"official/dev.jsonl":  `{"passage":"Ice is cold.","question":"is ice hot","title":"Ice","answer":false}`,
			"foundry/boolq.jsonl": `{"query":"Passage: Ice is cold.\nQuestion: is ice hot?","choices":["no","yes"],"gold":0}`}},
	} {
		dir := t.TempDir()
		var first *Data
		for path, text := range c.files {
			write(t, dir, path, strings.TrimSuffix(text, "\n")+"\n")
			write(t, dir, "official/valid-labels.lst", "1\n")
			root := filepath.Join(dir, strings.Split(path, "/")[0])
			d, err := Find(root, chosen(t, c.task)[0], 0)
			if err != nil {
				t.Errorf("%s: %s: %v", c.task, path, err)
				continue
			}
			if first == nil {
				first = &d
			}
			if !reflect.DeepEqual(first.Questions, d.Questions) {
				t.Errorf("%s: %s: want %+v as in %s, got %+v", c.task, path, first.Questions, first.Path, d.Questions)
			}
		}
	}
}

func TestContextOfEachTask(t *testing.T) {
	for task, want := range map[string]Choice{
		"piqa":       {"Question: To keep bread fresh, \nAnswer:", " put it into a bag and close the bag. ", "put it into a bag and close the bag. "},
		"hellaswag":  {"Playing ball: A boy stands in a garden with a ball. The boy named tom", " throws the ball to his dog.", "throws the ball to his dog."},
		"winogrande": {"The dog chased the cat until the cat", " climbed a tree.", "The dog chased the cat until the cat"},
		"arc_easy":   {"Question: What do plants need to grow?\nAnswer:", " light", "light"},
		"openbookqa": {"A bird builds its nest", " in a tree", "in a tree"},
		"boolq":      {"Dogs -- Dogs are animals that live with people. They like to play and to run.\nQuestion: do dogs like to play?\nAnswer:", " no", "no"},
	} {
		d, err := Find("testdata/synthetic", chosen(t, task)[0], 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Questions[0].Choices[0]; got != want {
			t.Errorf("%s: want %q, got %q", task, want, got)
		}
	}
	if got := cleanHellaswag(" [header] How to [title] Find it.  [step] Go. "); got != " How to. Find it.  Go." {
		t.Errorf("got %q", got)
	}
}

func TestBadData(t *testing.T) {
	const row = `{"goal":"g","sol1":"a","sol2":"b","label":1}` + "\n"
	for _, c := range []struct {
		want  string
		files map[string]string
	}{
		{"want a file of one of these forms, found none", map[string]string{"a.jsonl": `{"x":1}`}},
		{"want one file of", map[string]string{"a/x.jsonl": row, "b/x.jsonl": row}},
		{"x.jsonl: line 2: want the keys of the first row", map[string]string{"x.jsonl": row + `{"goal":"g"}` + "\n"}},
		{"x.jsonl: line 2: want a JSON object", map[string]string{"x.jsonl": row + "nonsense\n"}},
		{"choice 2 is empty", map[string]string{"x.jsonl": `{"goal":"g","sol1":"a","sol2":" ","label":1}`}},
		{"gold choice: want 0 to 1, got 2", map[string]string{"x.jsonl": `{"goal":"g","sol1":"a","sol2":"b","label":2}`}},
		{"x.jsonl: line 2: goal: want a value, got null", map[string]string{"x.jsonl": row + `{"goal":null,"sol1":"a","sol2":"b","label":1}`}},
		{"x.jsonl: line 2: want UTF-8 text", map[string]string{"x.jsonl": row + "{\"goal\":\"caf\xe9\",\"sol1\":\"a\",\"sol2\":\"b\",\"label\":1}\n"}},
		{"x.jsonl: line 1: want an object of the task's fields: Goal: want a string, got a number", map[string]string{"x.jsonl": `{"goal":7,"sol1":"a","sol2":"b","label":1}`}},
		{"have no labels", map[string]string{"valid.jsonl": `{"goal":"g","sol1":"a","sol2":"b"}`}},
		{"want a label for each of its 1 rows, got 2", map[string]string{"valid.jsonl": `{"goal":"g","sol1":"a","sol2":"b"}`, "valid-labels.lst": "0\n1\n"}},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			write(t, dir, name, text)
		}
		if _, err := Find(dir, piqa(), 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: want %q, got %v", c.files, c.want, err)
		}
	}
	for want, row := range map[string]string{
		"choices: want at least 2, got 0":         `{"question":"q","choices":{"text":[],"label":[]},"answerKey":"A"}`,
		"want a label for each of 2 texts, got 3": `{"question":"q","choices":{"text":["x","y"],"label":["A","B","C"]},"answerKey":"A"}`,
		"question: want a stem":                   `{"question":{"choices":[{"text":"x","label":"A"},{"text":"y","label":"B"}]},"answerKey":"A"}`,
		"answerKey: want one of":                  `{"question":"q","choices":{"text":["x","y"],"label":["A","B"]},"answerKey":"C"}`,
	} {
		dir := t.TempDir()
		write(t, dir, "arc_easy.jsonl", row)
		if _, err := Find(dir, arcEasy(), 0); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "arc_easy.jsonl: line 1") {
			t.Errorf("%s: want %q, got %v", row, want, err)
		}
	}
	dir := t.TempDir()
	write(t, dir, "a/train.jsonl", row)
	write(t, dir, "b/valid.jsonl", row)
	if d, err := Find(dir, piqa(), 0); err != nil || filepath.Base(d.Path) != "valid.jsonl" {
		t.Errorf("want the validation split, got %v %v", d.Path, err)
	}
}

func TestBadWinogrande(t *testing.T) {
	for want, row := range map[string]string{
		"x.jsonl: line 1: option2 is empty": `{"sentence":"a _ b","option1":"x","option2":" ","answer":"1"}`,
		"want a gap":                        `{"sentence":"a b","option1":"x","option2":"y","answer":"1"}`,
		"found none":                        `{"context_options":["a","b"],"continuation":"c","gold":0}`, // of another task, or without a name
	} {
		dir := t.TempDir()
		write(t, dir, "x.jsonl", row)
		if _, err := Find(dir, winogrande(), 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", row, want, err)
		}
	}
}

// A file that another editor or system wrote gives the same questions: with a byte order mark,
// with lines that end with CR LF, and below a link to its folder.
func TestSameQuestionsOfOtherEditors(t *testing.T) {
	for task, text := range map[string]string{
		"piqa":      `{"goal":"g","sol1":"a","sol2":"b","label":1}` + "\n",
		"hellaswag": "Reading: A girl sits. She has a Book.\n2\nreads.\nruns.\neats.\nsings.\n",
	} {
		name := "x.jsonl"
		if task == "hellaswag" {
			name = "x.txt"
		}
		dir := t.TempDir()
		write(t, dir, name, text)
		want, err := Find(dir, chosen(t, task)[0], 0)
		if err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		crlf, mark := t.TempDir(), t.TempDir()
		write(t, crlf, name, strings.ReplaceAll(text, "\n", "\r\n"))
		write(t, mark, name, "\ufeff"+text)
		for _, other := range []string{link, crlf, mark} {
			got, err := Find(other, chosen(t, task)[0], 0)
			if err != nil || !reflect.DeepEqual(got.Questions, want.Questions) {
				t.Errorf("%s: %s: want %+v, got %+v %v", task, other, want.Questions, got.Questions, err)
			}
		}
	}
}

// Every published file is read as a whole.
func TestPublishedFiles(t *testing.T) {
	root := testutil.DataPath(t, "zero-shot")
	for name, n := range map[string]int{"piqa": 1838, "hellaswag": 10042, "winogrande": 1267, "arc_easy": 2376, "arc_challenge": 1172, "boolq": 3270, "openbookqa": 500} {
		d, err := Find(root, chosen(t, name)[0], 0)
		if err != nil {
			t.Error(err)
		} else if len(d.Questions) != n {
			t.Errorf("%s: want %d questions, got %d", name, n, len(d.Questions))
		}
	}
}
