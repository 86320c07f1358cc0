package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"

	"mop/internal/files"
	"mop/runtime/tokenizer"
)

// promptTokens is the length of the prompts that a text file is cut into.
const promptTokens = 256

// Prompts reads the calibration prompts of a file, each with BOS in front. A .json
// file is an array of {instruction, input} objects, which are put into the prompt
// of the released MoP models; each line of a .jsonl file gives its "text"; another
// file is cut into prompts of 256 tokens.
//
// It returns the first n prompts, or with sample a random sample of n, and how many
// prompts the file has. Of a text file without sampling at most n are counted. A
// prompt longer than context is truncated, with a warning.
func Prompts(t *tokenizer.Tokenizer, path string, n, context int, sample bool, seed uint64) (prompts [][]int, available int, err error) {
	encode := func(texts [][]byte) error {
		prompts, available, err = encodePrompts(t, path, texts, n, context, sample, seed)
		return err
	}
	switch filepath.Ext(path) {
	case ".json":
		err = files.View(path, func(data []byte) error {
			texts, err := instructionPrompts(data)
			if err == nil {
				err = encode(texts)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		})
	case ".jsonl":
		err = viewDocuments(path, "", encode)
	default:
		err = viewDocuments(path, "", func(texts [][]byte) error {
			maxWindows := n
			if sample {
				maxWindows = math.MaxInt
			}
			windows, err := cutWindows(t, texts, min(promptTokens, context-1)+1, 0, 0, maxWindows)
			if sample {
				sampler(seed).Shuffle(len(windows), func(i, j int) { windows[i], windows[j] = windows[j], windows[i] })
			}
			for _, w := range windows[:min(n, len(windows))] {
				prompts = append(prompts, w.Tokens)
			}
			available = len(windows)
			return err
		})
	}
	return prompts, available, err
}

// sampler returns the random numbers by which prompts are sampled.
func sampler(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6d6f70)) }

// instructionPrompts are the prompts of a JSON array of instructions, in the format
// of the released MoP models.
func instructionPrompts(data []byte) (texts [][]byte, err error) {
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

// encodePrompts tokenizes n of the texts, the first or sampled ones.
func encodePrompts(t *tokenizer.Tokenizer, path string, texts [][]byte, n, context int, sample bool, seed uint64) (prompts [][]int, available int, err error) {
	order := make([]int, len(texts))
	for i := range order {
		order[i] = i
	}
	if sample {
		order = sampler(seed).Perm(len(texts))
	}
	truncated := 0
	for _, i := range order[:min(n, len(order))] {
		tokens, err := t.EncodeFirst(texts[i], context+1, tokenizer.EncodeOptions{BOS: true})
		if err != nil {
			return nil, 0, err
		}
		if len(tokens) > context {
			truncated++
		}
		if len(tokens) > 0 {
			prompts = append(prompts, tokens[:min(len(tokens), context)])
		}
	}
	if truncated > 0 {
		slog.Warn("calibration: prompts longer than the model's context are cut to it", "file", path, "prompts", truncated, "context", context)
	}
	if len(prompts) == 0 {
		return nil, 0, errors.New("no prompts in it")
	}
	return prompts, len(texts), nil
}
