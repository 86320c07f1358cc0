package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/runtime/tokenizer"
)

const (
	llavas   = "../../runtime/vision/testdata/models/"
	pictures = "../../runtime/vision/testdata/pictures/"
)

// The text about one and about two images is that of transformers.
func TestRunWithImages(t *testing.T) {
	for _, name := range []string{"dense", "pruned", "flat"} {
		data, err := os.ReadFile(llavas + name + "/golden.json")
		if err != nil {
			t.Fatal(err)
		}
		var golden struct {
			Cases []struct {
				Pictures []string
				Question string
				Greedy   []int
			}
		}
		if err := json.Unmarshal(data, &golden); err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.Open(llavas + name)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range golden.Cases {
			args := []string{"run", "--model", llavas + name, "--prompt", c.Question, "--max-tokens", fmt.Sprint(len(c.Greedy))}
			for _, p := range c.Pictures {
				args = append(args, "--image", pictures+p)
			}
			out, err := mop(t, "", args...)
			// The tokens decide: their text in the golden file lacks bytes that are not UTF-8.
			want, failed := tok.Decode(c.Greedy)
			if failed != nil || err != nil || strings.TrimSpace(out) != strings.TrimSpace(string(want)) {
				t.Errorf("%s, case %d: want %q, got %q, %v", name, i, want, out, err)
			}
		}
	}
}

// What cannot be answered is one line that says why.
func TestBadImages(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole, err := os.ReadFile(pictures + "j420.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model, prompt string
		images        []string
		want          string
	}{
		{llavas + "dense", "a", []string{file("text.png", "hello, world")}, "text.png: not a readable picture: want JPEG or PNG"},
		{llavas + "dense", "a", []string{file("empty.jpg", "")}, "empty.jpg: not a readable picture: the file is empty"},
		{llavas + "dense", "a", []string{file("half.jpg", string(whole[:len(whole)/2]))}, "half.jpg: not a readable picture: JPEG: the file is truncated"},
		{llavas + "dense", "a", []string{dir + "/none.png"}, "none.png"},
		{llavas + "dense", "a", []string{dir}, dir},
		{llavas + "dense", "a <image>", nil, "the prompt has 1 of <image>, and --image is given 0 times"},
		{llavas + "dense", "<image> or <image>", []string{pictures + "rgb.png"}, "the prompt has 2 of <image>, and --image is given 1 times"},
		{llavas + "dense", "a", strings.Fields(strings.Repeat(pictures+"rgb.png ", 20)), "20 images of 16 tokens each"},
		{"../../bench/demo/model", "a", []string{pictures + "rgb.png"}, "the model has no vision tower: want a LLaVA"},
	} {
		args := []string{"run", "--model", c.model, "--prompt", c.prompt}
		for _, i := range c.images {
			args = append(args, "--image", i)
		}
		out, err := mop(t, "", args...)
		if err == nil || out != "" || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: want an error with %q and no output, got %v, %q", args, c.want, err, out)
		}
	}
}

// A chat with a LLaVA refuses a placeholder, since it takes no images.
func TestChatWithPlaceholder(t *testing.T) {
	if _, err := mop(t, "a <image>\n", "run", "--model", llavas+"dense", "--chat"); err == nil || !strings.Contains(err.Error(), "a chat takes no images") {
		t.Errorf("got %v", err)
	}
}

// A LLaVA answers the questions of a benchmark; what it wrote is scored again alike.
func TestEvalVQA(t *testing.T) {
	dir := t.TempDir()
	problems := filepath.Join(dir, "problems.json")
	if err := os.WriteFile(problems, []byte(`{
		"7": {"question": "What is in this picture?", "choices": ["a house", "a tree"], "answer": 1, "hint": "", "image": "rgb.png", "split": "test"},
		"21": {"question": "Which is small?", "choices": ["boat", "water"], "answer": 0, "hint": "Look.", "image": null, "split": "test"}}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "images/7"), 0o777); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(pictures + "rgb.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "images/7/rgb.png"), data, 0o666); err != nil {
		t.Fatal(err)
	}
	answers, log := filepath.Join(dir, "answers.jsonl"), filepath.Join(dir, "log.jsonl")
	first, err := mop(t, "", "eval", "vqa", "--task", "scienceqa", "--model", llavas+"dense", "--questions", problems, "--annotations", problems,
		"--images", filepath.Join(dir, "images"), "--answers", answers, "--log", log, "--json")
	if err != nil || !strings.Contains(first, `"n":2`) || !strings.Contains(first, `"acc":`) || !strings.Contains(first, `"task":"scienceqa"`) {
		t.Fatalf("got %s, %v", first, err)
	}
	rows, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for s := bufio.NewScanner(rows); s.Scan(); n++ {
		var row struct {
			ID, Prediction, Answer *int
			Correct                *float64
		}
		if err := json.Unmarshal(s.Bytes(), &row); err != nil || row.ID == nil || row.Prediction == nil || row.Answer == nil || row.Correct == nil {
			t.Errorf("log: got %s, %v", s.Text(), err)
		}
	}
	if n != 2 {
		t.Errorf("log: want 2 rows, got %d", n)
	}
	second, err := mop(t, "", "eval", "vqa", "--task", "scienceqa", "--annotations", problems, "--score-only", answers, "--json")
	if err != nil || second != first {
		t.Errorf("scored again: want %s, got %s, %v", first, second, err)
	}
	for _, c := range []struct {
		args  []string
		want  string
		usage bool
	}{
		{[]string{"--task", "x"}, "--task: want one of", true},
		{[]string{"--questions", problems, "--images", dir}, "--task is required", true},
		{[]string{"--task", "pope"}, "--questions is required", true},
		{[]string{"--task", "pope", "--questions", problems}, "--images is required", true},
		{[]string{"--task", "pope", "--score-only", answers, "--limit", "3"}, "it excludes", true},
		{[]string{"--task", "pope", "--questions", problems, "--images", dir}, "--model is required", true},
		{[]string{"--task", "scienceqa", "--model", llavas + "dense", "--questions", problems, "--images", dir + "/none"}, "question 7: no image 7/rgb.png or test/7/rgb.png", false},
		{[]string{"--task", "scienceqa", "--model", "../../bench/demo/model", "--questions", problems, "--images", dir + "/images"}, "the model has no vision tower", false},
		{[]string{"--task", "scienceqa", "--score-only", dir + "/none"}, "none", false},
	} {
		_, err := mop(t, "", append([]string{"eval", "vqa"}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, errUsage) != c.usage {
			t.Errorf("%v: want a usage error %v and %q, got %v", c.args, c.usage, c.want, err)
		}
	}
}

// A LLaVA that is pruned on ScienceQA's prompts stays one, and sees; its recovery has the
// LLaVA recipe.
func TestPruneLLaVA(t *testing.T) {
	dir := t.TempDir()
	var problems []string
	for i := range 8 {
		problems = append(problems, fmt.Sprintf(`"%d": {"question": "Is there a dog %d?", "choices": ["yes", "no"], "answer": %d}`, i, i, i%2))
	}
	data := filepath.Join(dir, "problems.json")
	if err := os.WriteFile(data, []byte("{"+strings.Join(problems, ",")+"}"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dense", "flat"} {
		out := filepath.Join(dir, name)
		if _, err := mop(t, "", "prune", "--model", llavas+name, "--out", out, "--targets", "0.1", "--sequence", "GG", "--prompts", "8", "--calibration", data, "--recover", data, "--recover-steps", "1"); err != nil {
			t.Fatal(err)
		}
		for _, pruned := range []string{"0.10", "0.10-recovered"} {
			text, err := mop(t, "", "run", "--model", filepath.Join(out, pruned), "--image", pictures+"rgb.png", "--prompt", "What is in this picture?", "--max-tokens", "4", "--ignore-eos")
			if err != nil || text == "" {
				t.Errorf("%s %s: got %q, %v", name, pruned, text, err)
			}
		}
		recovery, err := os.ReadFile(filepath.Join(out, "0.10-recovered", "recovery.json"))
		if err != nil {
			t.Fatal(err)
		}
		var made struct {
			Settings struct {
				Rank  int
				Alpha float64
			}
		}
		if err := json.Unmarshal(recovery, &made); err != nil || made.Settings.Rank != 8 || made.Settings.Alpha != 16 {
			t.Errorf("%s: want rank 8 and alpha 16, got %s, %v", name, recovery, err)
		}
	}
}

// The stages of the time to the first token add up to it.
func TestBenchWithImage(t *testing.T) {
	out, err := mop(t, "", "bench", llavas+"dense", "--image", pictures+"rgb.png", "--in", "10", "--out", "3", "--runs", "3", "--discard", "0", "--format", "jsonl")
	if err != nil {
		t.Fatal(err)
	}
	samples := 0
	for line := range strings.Lines(out) {
		var s struct {
			Kind     string
			TTFT     int64            `json:"ttft_ns"`
			Stages   map[string]int64 `json:"stages"`
			Protocol struct{ In int }
		}
		if err := json.Unmarshal([]byte(line), &s); s.Kind != "sample" {
			if !strings.Contains(line, `"vision_ms"`) || s.Protocol.In != 10+16 {
				t.Errorf("row: got %s, %v", line, err)
			}
			continue
		}
		samples++
		sum := int64(0)
		for _, name := range []string{"preprocess_ns", "vision_ns", "projection_ns", "prefill_ns"} {
			if s.Stages[name] <= 0 {
				t.Errorf("%s: got %d", name, s.Stages[name])
			}
			sum += s.Stages[name]
		}
		if sum != s.TTFT {
			t.Errorf("stages: want %d in all, got %d", s.TTFT, sum)
		}
	}
	if samples != 3 {
		t.Errorf("want 3 samples, got %d", samples)
	}
	for _, c := range []struct{ args, want string }{
		{llavas + "dense --batch 2", "--image needs --batch 1"},
		{"../../bench/demo/model", "the model has no vision tower"},
		{llavas + "dense," + llavas + "pruned", "an image has 10 tokens, that of"},
	} {
		args := append([]string{"bench", "--image", pictures + "rgb.png", "--in", "10", "--out", "3", "--runs", "1", "--discard", "0"}, strings.Fields(c.args)...)
		if _, err := mop(t, "", args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.args, c.want, err)
		}
	}
}
