package zeroshot

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"mop/internal/progress"
)

func TestParseTasks(t *testing.T) {
	for names, want := range map[string]string{"piqa,mmlu": "piqa, hellaswag", "": "want some of", "piqa,piqa": "twice"} {
		if _, err := Parse(names); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %v", names, want, err)
		}
	}
}

// A run that is stopped anywhere and resumed ends with the same figures and the same log.
func TestResume(t *testing.T) {
	m := demoModel(t)
	dir := t.TempDir()
	o := Options{Tasks: chosen(t, "piqa,arc_easy"), Data: "testdata/synthetic", BOS: "auto", Log: filepath.Join(dir, "whole.jsonl")}
	want, err := Run(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(o.Log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), m, o); err == nil || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("an existing log without --resume: want an error, got %v", err)
	}
	for _, cut := range []int{0, 1, len(whole) / 3, len(whole) / 2, len(whole) - 1, len(whole)} {
		o.Log, o.Resume = filepath.Join(dir, "cut.jsonl"), true
		if err := os.WriteFile(o.Log, whole[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := Run(t.Context(), m, o)
		if err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(o.Log)
		if err != nil || !reflect.DeepEqual(got, want) || !bytes.Equal(after, whole) {
			t.Errorf("cut at %d: the result or the log differs: %v", cut, err)
		}
	}
	o.BOS = "off"
	if _, err := Run(t.Context(), m, o); err == nil || !strings.Contains(err.Error(), "another model, tokenizer, BOS setting or data file") {
		t.Errorf("a log of another run: want an error, got %v", err)
	}
	o.BOS, o.Tokenizer = "auto", filepath.Join(dir, "other")
	if err := os.CopyFS(o.Tokenizer, os.DirFS(m.Name)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(o.Tokenizer, "tokenizer.json")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), m, o); err == nil || !strings.Contains(err.Error(), "another model, tokenizer, BOS setting or data file") {
		t.Errorf("a log of another tokenizer: want an error, got %v", err)
	}
	o.Tokenizer = ""
	if after, _ := os.ReadFile(o.Log); !bytes.Equal(after, whole) {
		t.Error("a refused log was changed")
	}
	for _, other := range []string{"no log\n", "no log", `{"model":"x"}`} {
		if err := os.WriteFile(o.Log, []byte(other), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), m, o); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("another file: want an error, got %v", err)
		}
		if after, _ := os.ReadFile(o.Log); string(after) != other {
			t.Errorf("another file: want %q as it was, got %q", other, after)
		}
	}
	acc := regexp.MustCompile(`,"acc_norm":[01]`)
	if err := os.WriteFile(o.Log, acc.ReplaceAll(whole, nil), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), m, o); err == nil || !strings.Contains(err.Error(), "question 0: its answer was changed") {
		t.Errorf("a changed answer: want an error, got %v", err)
	}
}

// An interrupted run leaves the answers that it had.
func TestInterrupted(t *testing.T) {
	m := demoModel(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Tasks: chosen(t, "piqa,arc_easy"), Data: "testdata/synthetic", BOS: "auto", Log: filepath.Join(t.TempDir(), "log"),
		Progress: func(u progress.Update) {
			if u.Phase == "piqa" && u.Done == u.Total {
				cancel()
			}
		}}
	if _, err := Run(ctx, m, o); err == nil {
		t.Fatal("want an error")
	}
	if data, _ := os.ReadFile(o.Log); bytes.Count(data, []byte("\n")) != 3 {
		t.Errorf("want the 3 answers to piqa in the log, got %q", data)
	}
}

// A choice that is longer than the model's context is refused, by its name.
func TestChoiceLongerThanContext(t *testing.T) {
	m := demoModel(t)
	dir := t.TempDir()
	write(t, dir, "x.jsonl", `{"goal":"g","sol1":"a","sol2":"`+strings.Repeat("water ", 600)+`","label":1}`)
	_, err := Run(t.Context(), m, Options{Tasks: chosen(t, "piqa"), Data: dir, BOS: "auto"})
	if err == nil || !strings.Contains(err.Error(), "x.jsonl: piqa: question 1: choice 2: want at most 512 tokens") {
		t.Errorf("got %v", err)
	}
}
