// Command corpus writes the demo's texts: stories of a grammar that has agreement,
// memory, arithmetic and facts to know by heart, each made of its seed alone.
//
//	go run ./bench/demo/corpus --training stories.txt --held bench/demo/text
//
// Splits have seeds of their own, and a story of one split is in no other.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The splits' first seeds.
const (
	trainingSeed    = 0
	calibrationSeed = 10_000_000
	windowsSeed     = 20_000_000
	evaluationSeed  = 30_000_000
	questionsSeed   = 40_000_000
	recoverySeed    = 50_000_000
)

// stories is how many the model is trained on, once each.
const stories = 14400

const separator = "\n<|endoftext|>\n"

// split is stories that belong together.
type split struct {
	name  string
	first uint64 // seed
	count int
}

// held are the splits that training must not see, the demo's text files.
func held() []split {
	return []split{{"evaluation.txt", evaluationSeed, 220}, {"windows.txt", windowsSeed, 130}, {"calibration.jsonl", calibrationSeed, 160}, {"recovery.txt", recoverySeed, 640}}
}

// take makes a split's stories, without those that were seen; they are seen then.
func (s split) take(seen map[string]bool) []string {
	var out []string
	for seed := s.first; len(out) < s.count; seed++ {
		if text := story(seed); !seen[text] {
			seen[text] = true
			out = append(out, text)
		}
	}
	return out
}

func main() {
	n := flag.Int("stories", stories, "stories to train on")
	training := flag.String("training", "", "file for them, none if empty")
	dir := flag.String("held", "", "directory for the texts that are not trained on, none if empty")
	flag.Parse()
	if err := write(*n, *training, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func write(n int, training, dir string) error {
	seen := map[string]bool{}
	for _, s := range held() {
		texts := s.take(seen)
		if dir == "" {
			continue
		}
		if err := save(filepath.Join(dir, s.name), texts); err != nil {
			return err
		}
	}
	if dir != "" {
		if err := saveQuestions(filepath.Join(dir, "questions.jsonl"), 300); err != nil {
			return err
		}
	}
	if training == "" {
		return nil
	}
	return save(training, split{"", trainingSeed, n}.take(seen))
}

// save writes stories with separators, or as JSON lines.
func save(path string, texts []string) error {
	if filepath.Ext(path) == ".txt" {
		return os.WriteFile(path, []byte(strings.Join(texts, separator)+"\n"), 0o666)
	}
	return lines(path, len(texts), func(i int) any { return map[string]string{"text": texts[i]} })
}

func saveQuestions(path string, n int) error {
	return lines(path, n, func(i int) any { return ask(questionsSeed + uint64(i)) })
}

// lines writes n values as JSON, a line each.
func lines(path string, n int, value func(int) any) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range n {
		if err := enc.Encode(value(i)); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
