// Package calibrate reads the texts that scores are taken on: prompts for AMP,
// windows for the path criteria and for evaluation. What flows in: files. What
// flows out: ids.
package calibrate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"mop/runtime/tokenizer"
)

// Documents reads a text file: a .jsonl file's rows (field "text"), or the parts
// between separators, trimmed, or the whole file as one stream.
func Documents(path, separator string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []string
	switch {
	case filepath.Ext(path) == ".jsonl":
		s := bufio.NewScanner(bytes.NewReader(data))
		s.Buffer(nil, len(data)+1)
		for n := 1; s.Scan(); n++ {
			if len(bytes.TrimSpace(s.Bytes())) == 0 {
				continue
			}
			var row struct{ Text *string }
			if err := json.Unmarshal(s.Bytes(), &row); err != nil || row.Text == nil {
				return nil, fmt.Errorf("%s: line %d: want an object with a string \"text\"", path, n)
			}
			out = append(out, *row.Text)
		}
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	case separator != "":
		for part := range strings.SplitSeq(string(data), separator) {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	default:
		out = []string{string(data)}
	}
	if len(strings.TrimSpace(strings.Join(out, ""))) == 0 {
		return nil, fmt.Errorf("%s: no text in it", path)
	}
	return out, nil
}

// Window is one input of a model: its positions from First on are targets.
type Window struct {
	IDs   []int // BOS first
	First int   // >= 1
}

// Cut tokenises each document once, without BOS, and cuts it into windows of
// context-1 ids with BOS before each. Windows begin every stride ids (0 = no
// overlap) and score only ids that none before them scored. limit > 0 takes the
// first ids of each document only.
func Cut(t *tokenizer.Tokenizer, documents []string, context, stride, limit int) ([]Window, error) {
	return cut(t, documents, context, stride, limit, math.MaxInt)
}

// First is the first n windows that Cut gives without overlap; documents that
// come after them are not tokenised.
func First(t *tokenizer.Tokenizer, documents []string, context, n int) ([]Window, error) {
	return cut(t, documents, context, 0, 0, n)
}

func cut(t *tokenizer.Tokenizer, documents []string, context, stride, limit, most int) ([]Window, error) {
	if context < 2 {
		return nil, fmt.Errorf("context: want at least 2, got %d", context)
	}
	if stride < 0 || stride > context-1 {
		return nil, fmt.Errorf("stride: want 1 to %d, got %d", context-1, stride)
	}
	if stride == 0 {
		stride = context - 1
	}
	if t.BOS() < 0 {
		return nil, fmt.Errorf("the tokenizer has no BOS id")
	}
	var out []Window
	for _, d := range documents {
		if len(out) >= most {
			break
		}
		ids, err := t.Encode([]byte(d), tokenizer.EncodeOptions{})
		if err != nil {
			return nil, err
		}
		if limit > 0 && len(ids) > limit {
			ids = ids[:limit]
		}
		for at, scored := 0, 0; scored < len(ids) && len(out) < most; at += stride {
			end := min(at+context-1, len(ids))
			w := Window{append([]int{t.BOS()}, ids[at:end]...), 1 + scored - at}
			out = append(out, w)
			scored = end
		}
	}
	return out, nil
}

// promptTokens is the length of a text file's calibration windows, in ids.
const promptTokens = 256

// Prompts reads AMP's prompts: a JSON array of {instruction, input} takes the
// template of the released runs, JSON lines give one text each, another text is
// cut into windows of 256 ids. Each has BOS in front. It takes the first n, or a
// seeded sample of n, and returns how many there were. A prompt longer than the
// model's context is cut to it.
func Prompts(t *tokenizer.Tokenizer, path string, n, context int, sample bool, seed uint64) (prompts [][]int, there int, err error) {
	var texts []string
	long := 0
	if filepath.Ext(path) == ".json" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, 0, err
		}
		var rows []struct {
			Instruction *string
			Input       string
		}
		if err := json.Unmarshal(data, &rows); err != nil {
			return nil, 0, fmt.Errorf("%s: want a JSON array of {instruction, input, output}: %w", path, err)
		}
		for i, r := range rows {
			if r.Instruction == nil {
				return nil, 0, fmt.Errorf("%s: row %d: want an object with a string \"instruction\"", path, i+1)
			}
			s := "Instruction: " + *r.Instruction + "\n"
			if r.Input != "" {
				s += "Input: " + r.Input + "\n"
			}
			texts = append(texts, s+"Response:")
		}
	} else if texts, err = Documents(path, ""); err != nil {
		return nil, 0, err
	}
	if filepath.Ext(path) == ".json" || filepath.Ext(path) == ".jsonl" {
		order := make([]int, len(texts))
		for i := range order {
			order[i] = i
		}
		if sample {
			order = rand.New(rand.NewPCG(seed, 0x6d6f70)).Perm(len(texts))
		}
		for _, i := range order[:min(n, len(order))] {
			ids, err := t.Encode([]byte(texts[i]), tokenizer.EncodeOptions{BOS: true})
			if err != nil {
				return nil, 0, err
			}
			if len(ids) > context {
				long++
			}
			if len(ids) > 0 {
				prompts = append(prompts, ids[:min(len(ids), context)])
			}
		}
		if long > 0 {
			slog.Warn("calibration: prompts longer than the model's context are cut to it", "file", path, "prompts", long, "context", context)
		}
		there = len(texts)
	} else {
		windows, err := Cut(t, texts, min(promptTokens, context-1)+1, 0, 0)
		if err != nil {
			return nil, 0, err
		}
		if sample {
			rand.New(rand.NewPCG(seed, 0x6d6f70)).Shuffle(len(windows), func(i, j int) { windows[i], windows[j] = windows[j], windows[i] })
		}
		for _, w := range windows[:min(n, len(windows))] {
			prompts = append(prompts, w.IDs)
		}
		there = len(windows)
	}
	if len(prompts) == 0 || len(strings.TrimSpace(strings.Join(texts, ""))) == 0 {
		return nil, 0, fmt.Errorf("%s: no prompts in it", path)
	}
	return prompts, there, nil
}
