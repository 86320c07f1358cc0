// Package calibrate reads the texts that scores are taken on: prompts for AMP,
// windows for the path criteria and for evaluation. What flows in: files. What
// flows out: ids.
package dataset

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"mop/internal/files"
	"mop/runtime/tokenizer"
)

// Documents reads a text file: a .jsonl file's rows (field "text"), or the parts
// between separators, trimmed, or the whole file as one stream.
func Documents(path, separator string) (out []string, err error) {
	err = withDocuments(path, separator, func(documents [][]byte) error {
		for _, d := range documents {
			out = append(out, string(d))
		}
		return nil
	})
	return out, err
}

// withDocuments is Documents for files of any size: use sees them as they lie, and
// has them only until it returns.
func withDocuments(path, separator string, use func(documents [][]byte) error) error {
	return files.View(path, func(data []byte) error {
		list, err := documents(data, path, separator)
		if err != nil {
			return err
		}
		if err := use(list); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

func documents(data []byte, path, separator string) ([][]byte, error) {
	var out [][]byte
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
			out = append(out, []byte(*row.Text))
		}
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	case separator != "":
		for part := range bytes.SplitSeq(data, []byte(separator)) {
			if part = bytes.TrimSpace(part); len(part) > 0 {
				out = append(out, part)
			}
		}
	default:
		out = [][]byte{data}
	}
	if !slices.ContainsFunc(out, func(d []byte) bool { return len(bytes.TrimSpace(d)) > 0 }) {
		return nil, fmt.Errorf("%s: no text in it", path)
	}
	return out, nil
}

// Window is one input of a model: its positions from First on are targets.
type Window struct {
	Tokens      []int // BOS first
	FirstScored int   // >= 1
}

// Longest is the number of tokens of the longest window, 0 without windows.
func Longest(windows []Window) int {
	n := 0
	for _, w := range windows {
		n = max(n, len(w.Tokens))
	}
	return n
}

// Positions counts the tokens of all windows.
func Positions(windows []Window) int {
	n := 0
	for _, w := range windows {
		n += len(w.Tokens)
	}
	return n
}

// ScoredTokens counts the tokens that the windows score.
func ScoredTokens(windows []Window) int {
	n := 0
	for _, w := range windows {
		n += len(w.Tokens) - w.FirstScored
	}
	return n
}

// Windows tokenises each document once, without BOS, and cuts it into windows of
// context-1 ids with BOS before each. Windows begin every stride ids (0 = no
// overlap) and score only ids that none before them scored. limit > 0 takes the
// first ids of each document only.
func Windows(t *tokenizer.Tokenizer, documents []string, context, stride, limit int) ([]Window, error) {
	var list [][]byte
	for _, d := range documents {
		list = append(list, []byte(d))
	}
	return cut(t, list, context, stride, limit, math.MaxInt)
}

// WindowsOfFile is Cut for the documents of a file, which may be of any size.
func WindowsOfFile(t *tokenizer.Tokenizer, path, separator string, context, stride, limit int) (out []Window, err error) {
	err = withDocuments(path, separator, func(documents [][]byte) error {
		out, err = cut(t, documents, context, stride, limit, math.MaxInt)
		return err
	})
	return out, err
}

// FirstTokens is the first n windows that CutFile gives without overlap; what comes after
// them is not tokenised.
func FirstTokens(t *tokenizer.Tokenizer, path, separator string, context, n int) (out []Window, err error) {
	err = withDocuments(path, separator, func(documents [][]byte) error {
		out, err = cut(t, documents, context, 0, 0, n)
		return err
	})
	return out, err
}

func cut(t *tokenizer.Tokenizer, documents [][]byte, context, stride, limit, most int) ([]Window, error) {
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
		var ids []int         // from the next window on
		at, scored := 0, 0    // where that begins, and what has been scored
		take := func(n int) { // a window of n ids
			out = append(out, Window{append([]int{t.BOS()}, ids[:n]...), 1 + scored - at})
			scored = at + n
			at += stride
			ids = ids[min(stride, n):]
		}
		if err := t.EncodeEach(d, tokenizer.EncodeOptions{}, func(more []int) bool {
			if seen := at + len(ids); limit > 0 {
				more = more[:min(len(more), limit-seen)]
			}
			ids = append(ids, more...)
			for len(ids) >= context-1 && len(out) < most {
				take(context - 1)
			}
			return len(out) < most && (limit == 0 || at+len(ids) < limit)
		}); err != nil {
			return nil, err
		}
		if scored < at+len(ids) && len(out) < most {
			take(len(ids))
		}
	}
	return out, nil
}

// promptTokens is the length of a text file's calibration windows, in ids.
const promptTokens = 256

// Prompts reads AMP's prompts: a JSON array of {instruction, input} takes the
// template of the released runs, JSON lines give one text each, another text is
// cut into windows of 256 ids. Each has BOS in front. It takes the first n, or a
// seeded sample of n, and returns how many there were, of windows that no sample is
// taken from at most n. A prompt longer than the model's context is cut to it.
func Prompts(t *tokenizer.Tokenizer, path string, n, context int, sample bool, seed uint64) (prompts [][]int, there int, err error) {
	take := func(texts [][]byte) error {
		prompts, there, err = prompted(t, path, texts, n, context, sample, seed)
		return err
	}
	switch filepath.Ext(path) {
	case ".json":
		err = files.View(path, func(data []byte) error {
			texts, err := instructions(data)
			if err == nil {
				err = take(texts)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		})
	case ".jsonl":
		err = withDocuments(path, "", take)
	default:
		err = withDocuments(path, "", func(texts [][]byte) error {
			most := n
			if sample {
				most = math.MaxInt
			}
			windows, err := cut(t, texts, min(promptTokens, context-1)+1, 0, 0, most)
			if sample {
				rand.New(rand.NewPCG(seed, 0x6d6f70)).Shuffle(len(windows), func(i, j int) { windows[i], windows[j] = windows[j], windows[i] })
			}
			for _, w := range windows[:min(n, len(windows))] {
				prompts = append(prompts, w.Tokens)
			}
			there = len(windows)
			return err
		})
	}
	return prompts, there, err
}

// instructions are the prompts of a JSON array, by the released runs' template.
func instructions(data []byte) (texts [][]byte, err error) {
	var rows []struct {
		Instruction *string
		Input       string
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("want a JSON array of {instruction, input, output}: %w", err)
	}
	for i, r := range rows {
		if r.Instruction == nil {
			return nil, fmt.Errorf("row %d: want an object with a string \"instruction\"", i+1)
		}
		s := "Instruction: " + *r.Instruction + "\n"
		if r.Input != "" {
			s += "Input: " + r.Input + "\n"
		}
		texts = append(texts, []byte(s+"Response:"))
	}
	return texts, nil
}

// prompted encodes n of the texts.
func prompted(t *tokenizer.Tokenizer, path string, texts [][]byte, n, context int, sample bool, seed uint64) (prompts [][]int, there int, err error) {
	order := make([]int, len(texts))
	for i := range order {
		order[i] = i
	}
	if sample {
		order = rand.New(rand.NewPCG(seed, 0x6d6f70)).Perm(len(texts))
	}
	long := 0
	for _, i := range order[:min(n, len(order))] {
		ids, err := t.EncodeFirst(texts[i], context+1, tokenizer.EncodeOptions{BOS: true})
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
	if len(prompts) == 0 {
		return nil, 0, errors.New("no prompts in it")
	}
	return prompts, len(texts), nil
}
