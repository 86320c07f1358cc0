package dataset

import (
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"

	"mop/runtime/tokenizer"
)

// promptTokens is the length of the prompts that a text is cut into.
const promptTokens = 256

// Prompts reads the calibration prompts of a file, each with BOS in front. A row of JSON
// gives its text, or what precedes its response: an instruction in the prompt of the
// released MoP models, or the messages before the last one of the assistant. A text is
// cut into prompts of 256 tokens.
//
// It returns the first n prompts, or with sample a random sample of n, and how many
// prompts the file has. Of a text without sampling at most n are counted. A prompt longer
// than context is truncated, with a warning.
func Prompts(t *tokenizer.Tokenizer, f File, n, context int, sample bool, seed uint64) (prompts [][]int, available int, err error) {
	err = f.texts(promptText, func(texts []document) error {
		if len(texts) == 1 && texts[0].whole {
			prompts, available, err = cutPrompts(t, texts, n, context, sample, seed)
		} else {
			prompts, available, err = encodePrompts(t, f.Path, texts, n, context, sample, seed)
		}
		return err
	})
	return prompts, available, err
}

// sampler returns the random numbers by which prompts are sampled.
func sampler(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6d6f70)) }

// cutPrompts cuts a text into prompts.
func cutPrompts(t *tokenizer.Tokenizer, texts []document, n, context int, sample bool, seed uint64) (prompts [][]int, available int, err error) {
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
	if err == nil && len(prompts) == 0 {
		err = errors.New("no prompts in it")
	}
	return prompts, len(windows), err
}

// encodePrompts tokenizes n of the texts, the first or sampled ones.
func encodePrompts(t *tokenizer.Tokenizer, path string, texts []document, n, context int, sample bool, seed uint64) (prompts [][]int, available int, err error) {
	order := make([]int, len(texts))
	for i := range order {
		order[i] = i
	}
	if sample {
		order = sampler(seed).Perm(len(texts))
	}
	truncated := 0
	for _, i := range order[:min(n, len(order))] {
		tokens, err := t.EncodeFirst(texts[i].text, context+1, tokenizer.EncodeOptions{Special: texts[i].special})
		if err != nil {
			return nil, 0, err
		}
		if bos := t.BOS(); bos >= 0 && (len(tokens) == 0 || tokens[0] != bos) {
			tokens = append([]int{bos}, tokens...)
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
