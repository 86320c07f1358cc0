package dataset

import (
	"fmt"
	"math"
	"slices"

	"mop/runtime/tokenizer"
)

// Window is one sequence that a model is evaluated on. Its tokens from FirstScored
// on count; those before are context.
type Window struct {
	Tokens      []int // BOS first, where the tokenizer has one
	FirstScored int   // >= 1
}

// Longest returns the number of tokens of the longest window, 0 without windows.
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

// Windows tokenizes each document without BOS and cuts it into windows: BOS and at
// most context-1 tokens. A window starts stride tokens after the one before it, and
// scores only the tokens that no earlier window scored, so every token is scored
// once. Stride 0 means context-1, without overlap. A limit above 0 uses only the
// first tokens of each document.
//
// Where the tokenizer has no BOS, a window is context tokens. The first one has
// nothing before it and is not scored.
func Windows(t *tokenizer.Tokenizer, documents []string, context, stride, limit int) ([]Window, error) {
	var list []document
	for _, d := range documents {
		list = append(list, document{text: []byte(d)})
	}
	return cutWindows(t, list, context, stride, limit, math.MaxInt)
}

// WindowsOfFile is Windows for the documents of a file of any size. A row with a response
// is a document with its prompt.
func WindowsOfFile(t *tokenizer.Tokenizer, f File, context, stride, limit int) (out []Window, err error) {
	err = f.documents(func(documents []document) error {
		out, err = cutWindows(t, documents, context, stride, limit, math.MaxInt)
		return err
	})
	return out, err
}

// FirstWindows returns the first n windows of a file, without overlap. The rest of
// the file is not tokenized.
func FirstWindows(t *tokenizer.Tokenizer, f File, context, n int) (out []Window, err error) {
	err = f.documents(func(documents []document) error {
		out, err = cutWindows(t, documents, context, 0, 0, n)
		return err
	})
	return out, err
}

// cutWindows is Windows, but stops after maxWindows of them.
func cutWindows(t *tokenizer.Tokenizer, documents []document, context, stride, limit, maxWindows int) ([]Window, error) {
	if context < 2 {
		return nil, fmt.Errorf("context: want at least 2, got %d", context)
	}
	var bos []int
	length := context // of a window, without BOS
	if t.BOS() >= 0 {
		bos, length = []int{t.BOS()}, context-1
	}
	if stride < 0 || stride > length {
		return nil, fmt.Errorf("stride: want 1 to %d, got %d", length, stride)
	}
	if stride == 0 {
		stride = length
	}
	var out []Window
	for _, d := range documents {
		if len(out) >= maxWindows {
			break
		}
		var tokens []int         // of the document, from the next window's start on
		start, scoredEnd := 0, 0 // the next window's start, and the first token not scored yet
		add := func(n int) {     // adds a window of n tokens
			out = append(out, Window{slices.Concat(bos, tokens[:n]), max(1, len(bos)+scoredEnd-start)})
			scoredEnd = start + n
			start += stride
			tokens = tokens[min(stride, n):]
		}
		first := true
		if err := t.EncodeEach(d.text, tokenizer.EncodeOptions{Special: d.special}, func(more []int) bool {
			if first && len(bos) > 0 && len(more) > 0 && more[0] == bos[0] {
				more = more[1:] // the text has its own BOS
			}
			first = false
			if seen := start + len(tokens); limit > 0 {
				more = more[:min(len(more), limit-seen)]
			}
			tokens = append(tokens, more...)
			for len(tokens) >= length && len(out) < maxWindows {
				add(length)
			}
			return len(out) < maxWindows && (limit == 0 || start+len(tokens) < limit)
		}); err != nil {
			return nil, err
		}
		if max(scoredEnd, start+1-len(bos)) < start+len(tokens) && len(out) < maxWindows {
			add(len(tokens))
		}
	}
	return out, nil
}
