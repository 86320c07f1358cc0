package zeroshot

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mop/bench/demo"
	"mop/internal/testutil"
	"mop/runtime/device/cpu"
	"mop/runtime/open"
)

var everyQuestion = flag.Bool("every-question", false, "compare with all answers of the golden files, not with the first ones of each task")

// harnessAnswers is a file that testdata/harness.py wrote: the answers of
// lm-evaluation-harness.
type harnessAnswers struct {
	Model, BOS string
	Tasks      map[string]struct {
		Figures
		Questions []struct {
			Sums []float64
			Acc  int
			Norm *int `json:"acc_norm"`
		}
	}
}

func readHarness(t *testing.T, name string) harnessAnswers {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var a harnessAnswers
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func loadModel(t *testing.T, dir string) *open.Model {
	t.Helper()
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	m, err := open.LoadModel(dev, dir, open.SourceOptions{}, open.ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		dev.Close()
	})
	return m
}

func demoModel(t *testing.T) *open.Model {
	t.Helper()
	dir, _, err := demo.Unpack(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return loadModel(t, dir)
}

func chosen(t *testing.T, names string) []Task {
	t.Helper()
	list, err := Parse(names)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// compare runs the tasks of a golden file on its first limit questions, 0 = all, and compares
// every one of them, and the figures.
func compare(t *testing.T, m *open.Model, want harnessAnswers, data string, limit int) {
	t.Helper()
	compared := 0
	for _, task := range All() {
		golden, ok := want.Tasks[task.Name]
		if !ok || golden.N == 0 {
			continue
		}
		if len(golden.Questions) != golden.N {
			t.Fatalf("%s: want answers to %d questions in the golden file, got %d", task.Name, golden.N, len(golden.Questions))
		}
		questions := golden.Questions
		if limit > 0 {
			questions = questions[:min(limit, golden.N)]
		}
		path := filepath.Join(t.TempDir(), "log.jsonl")
		got, err := Run(t.Context(), m, Options{Tasks: []Task{task}, Data: data, Limit: len(questions), BOS: want.BOS, Log: path})
		if err != nil {
			t.Fatal(err)
		}
		l, err := openLog(path, true)
		if err != nil {
			t.Fatal(err)
		}
		l.close()
		right := 0
		for i, q := range questions {
			right += q.Acc
			r, ok := l.done[task.Name][i]
			if !ok || len(r.Sums) != len(q.Sums) {
				t.Fatalf("%s: question %d: want %d sums, got %v", task.Name, i, len(q.Sums), r.Sums)
			}
			for c, sum := range q.Sums {
				// Both sum float32 logits in orders of their own; the golden has 4 decimals or 7 digits.
				if diff := math.Abs(r.Sums[c] - sum); diff > 5e-4+2e-5*math.Abs(sum) {
					t.Errorf("%s: question %d: choice %d: want %v, got %v", task.Name, i, c, sum, r.Sums[c])
				}
			}
			if r.Acc != q.Acc || (r.Norm == nil) != (q.Norm == nil) || r.Norm != nil && *r.Norm != *q.Norm {
				t.Errorf("%s: question %d: want acc %d, got %d; or acc_norm differs (%v)", task.Name, i, q.Acc, r.Acc, r.Sums)
			}
			compared++
		}
		f := got.Tasks[task.Name]
		if f.N != len(questions) || math.Abs(f.Acc-float64(right)/float64(len(questions))) > 1e-12 {
			t.Errorf("%s: want %d of %d right, got %v of %d", task.Name, right, len(questions), f.Acc, f.N)
		}
		if len(questions) < golden.N {
			continue // the harness's figures are those of all questions
		}
		near := func(what string, want, got *float64) {
			if (want == nil) != (got == nil) || want != nil && math.Abs(*want-*got) > 1e-12 {
				t.Errorf("%s: %s: want %v, got %v", task.Name, what, want, got)
			}
		}
		near("acc", &golden.Acc, &f.Acc)
		near("acc_stderr", golden.AccStderr, f.AccStderr)
		near("acc_norm", golden.Norm, f.Norm)
		near("acc_norm_stderr", golden.NormStderr, f.NormStderr)
	}
	if compared == 0 {
		t.Error("the golden file has no questions")
	}
}

// The questions of testdata/synthetic try the formats: spaces at ends, WikiHow's marks,
// options that begin alike, letters and digits as labels. The sample logs are the
// harness's own of the same questions.
func TestSyntheticQuestionsMatchHarness(t *testing.T) {
	m := demoModel(t)
	for _, bos := range []string{"off", "on"} {
		for _, data := range []string{"synthetic", "samplelogs"} {
			compare(t, m, readHarness(t, "synthetic-bos-"+bos+".json"), filepath.Join("testdata", data), 0)
		}
	}
}

// The published questions: of each task the first 50 for the demo's model and the first ten for
// SmolLM2, or with -every-question the 200 of the golden files.
func TestPublishedQuestionsMatchHarness(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of computing: not with -short")
	}
	data := testutil.DataPath(t, "zero-shot")
	for _, test := range []struct {
		name  string
		load  func(*testing.T) *open.Model
		limit int
	}{
		{"demo", demoModel, 50},
		{"smollm2", func(t *testing.T) *open.Model { return loadModel(t, testutil.BuiltPath(t, "smollm2", "smollm2")) }, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := test.load(t)
			if *everyQuestion {
				test.limit = 0
			}
			for _, bos := range []string{"off", "on"} {
				compare(t, m, readHarness(t, test.name+"-bos-"+bos+".json"), data, test.limit)
			}
		})
	}
}
