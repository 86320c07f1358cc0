package timing

import (
	"fmt"
	"time"
)

// Throughput counts the tokens of one sequence as they are generated, and says how fast
// they came.
type Throughput struct {
	start, first, last time.Time
	prompt, generated  int // tokens
}

// StartThroughput starts the clock before the prompt is handed over.
func StartThroughput(promptTokens int) *Throughput {
	return &Throughput{start: time.Now(), prompt: promptTokens}
}

// Add counts a generated token.
func (t *Throughput) Add() {
	t.last = time.Now()
	if t.generated++; t.generated == 1 {
		t.first = t.last
	}
}

// String is one line for the prompt, whose time ends with the first token, and one line
// for the tokens after it.
func (t *Throughput) String() string {
	if t.generated == 0 {
		return fmt.Sprintf("prompt: %d tokens; generated: none\n", t.prompt)
	}
	line := func(what string, tokens, timed int, d time.Duration) string {
		if timed == 0 || d <= 0 {
			return fmt.Sprintf("%s: %d tokens\n", what, tokens)
		}
		return fmt.Sprintf("%s: %d tokens, %.1f tokens/s\n", what, tokens, float64(timed)/d.Seconds())
	}
	return line("prompt", t.prompt, t.prompt, t.first.Sub(t.start)) + line("generated", t.generated, t.generated-1, t.last.Sub(t.first))
}
