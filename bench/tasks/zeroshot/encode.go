package zeroshot

import (
	"fmt"
	"strings"

	"mop/runtime/metric"
	"mop/runtime/tokenizer"
)

// encoder tokenises questions with the boundaries of the harness.
type encoder struct {
	tokenizer *tokenizer.Tokenizer
	bos       []int // before every context
	limit     int   // positions of the model's context
	cut       int   // choices whose context was cut so far
}

// question gives the continuations of a question's choices.
func (e *encoder) question(q Question) ([]metric.Continuation, error) {
	var out []metric.Continuation
	for i, c := range q.Choices {
		k, err := e.choice(c)
		if err != nil {
			return nil, fmt.Errorf("choice %d: %w", i+1, err)
		}
		out = append(out, k)
	}
	return out, nil
}

// choice tokenises context and continuation together: the continuation's tokens are those
// after as many as the context alone has. Spaces at the end of the context belong to the
// continuation. A context that is too long is cut on the left.
func (e *encoder) choice(c Choice) (metric.Continuation, error) {
	context := strings.TrimRightFunc(c.Context, isSpace)
	continuation := c.Context[len(context):] + c.Continuation
	before, err := e.encode(context)
	if err != nil {
		return metric.Continuation{}, err
	}
	all, err := e.encode(context + continuation)
	if err != nil {
		return metric.Continuation{}, err
	}
	n := len(all) - len(before)
	switch {
	case n < 1:
		return metric.Continuation{}, fmt.Errorf("%q adds no token to its context", continuation)
	case n > e.limit:
		return metric.Continuation{}, fmt.Errorf("want at most %d tokens, the model's context, got %d", e.limit, n)
	case len(before) == 0:
		return metric.Continuation{}, fmt.Errorf("the context has no token")
	}
	// The last token is predicted only, so it takes no position.
	if over := len(all) - 1 - e.limit; over > 0 {
		all = all[over:]
		e.cut++
	}
	return metric.Continuation{Context: all[:len(all)-n], Tokens: all[len(all)-n:]}, nil
}

func (e *encoder) encode(text string) ([]int, error) {
	ids, err := e.tokenizer.Encode([]byte(text), tokenizer.EncodeOptions{Special: true})
	return append(append(make([]int, 0, len(ids)+1), e.bos...), ids...), err
}
