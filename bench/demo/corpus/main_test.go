package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stories of a text file.
func read(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), separator)
}

// The texts that mop carries are what this generator writes, and no story is in
// two splits.
func TestTexts(t *testing.T) {
	dir := t.TempDir()
	training := filepath.Join(dir, "all.txt")
	if err := write(stories, training, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"evaluation.txt", "windows.txt", "calibration.jsonl", "questions.jsonl", "recovery.txt"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join("../text", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: not what the generator writes, %v", name, err)
		}
	}
	in := map[string]string{}
	for _, name := range []string{"all.txt", "evaluation.txt", "windows.txt", "recovery.txt"} {
		for _, s := range read(t, filepath.Join(dir, name)) {
			if in[s] != "" {
				t.Fatalf("a story is in %s and in %s: %q", in[s], name, s)
			}
			in[s] = name
		}
	}
	if all := read(t, training); len(all) != stories {
		t.Errorf("want %d stories to train on, got %d", stories, len(all))
	}
}

// A question's right answer is the one that its text has, by another way of
// reading it than the one that wrote it; the others are not.
func TestQuestions(t *testing.T) {
	sum := regexp.MustCompile(`had (\w+) \w+\. \w+ ate (\w+) of them\. Now \w+ had$`)
	place := regexp.MustCompile(`the (\w+) was still$`)
	name := regexp.MustCompile(`(\w+) had an? \w+ \w+\.$`)
	value := func(word string) int { return slices.Index(numbers, word) }
	for seed := range uint64(300) {
		q := ask(questionsSeed + seed)
		right := q.Choices[q.Gold]
		for i, c := range q.Choices {
			if slices.Index(q.Choices, c) != i {
				t.Errorf("%q: twice among the choices of %q", c, q.Query)
			}
		}
		switch q.Kind {
		case "arithmetic":
			m := sum.FindStringSubmatch(q.Query)
			if m == nil || value(m[1])-value(m[2]) != value(strings.Fields(right)[0]) {
				t.Errorf("%q is not followed by %q", q.Query, right)
			}
		case "memory":
			thing := place.FindStringSubmatch(q.Query)[1]
			put := regexp.MustCompile(`(put the ` + thing + `|` + thing + `, and \w+ hid it|left \w+ \w+ ` + thing + `)` + regexp.QuoteMeta(right))
			if !put.MatchString(q.Query) {
				t.Errorf("%q is not followed by %q", q.Query, right)
			}
		case "agreement":
			p := name.FindStringSubmatch(q.Query)[1]
			if he := strings.Fields(right)[0]; slices.Contains(girls, p) != (he == "She") || slices.Contains(boys, p) != (he == "He") {
				t.Errorf("%q is not followed by %q", q.Query, right)
			}
		}
	}
}
