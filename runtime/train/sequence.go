package train

import (
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/model"
)

// Sequence is one example of a pass. Its tokens attend only to each other.
type Sequence struct {
	Tokens []int   // BOS first
	Labels []int   // [len(Tokens)], the token wanted after each position, -1 for none
	Scale  float32 // factor of each label's loss
	Stream uint64  // random stream of the sequence's dropout
}

// layOut checks a batch and places its sequences one after another in the rows of a
// pass. It returns the tokens of all rows.
func (t *Trainer) layOut(batch []Sequence) (tokens []int, err error) {
	b, c := &t.buffers, t.model.Config
	b.spans, b.streams = nil, nil
	for s, q := range batch {
		if len(q.Tokens) == 0 || len(q.Labels) != len(q.Tokens) {
			return nil, fmt.Errorf("sequence %d: want as many labels as tokens, and at least one, got %d and %d", s, len(q.Labels), len(q.Tokens))
		}
		if len(q.Tokens) > c.MaxPositions {
			return nil, fmt.Errorf("sequence %d of %d tokens: %w of %d", s, len(q.Tokens), model.ErrContext, c.MaxPositions)
		}
		for i, token := range q.Tokens {
			if token < 0 || token >= c.VocabSize || q.Labels[i] >= c.VocabSize {
				return nil, fmt.Errorf("sequence %d: position %d: token %d, label %d: %w of %d", s, i, token, q.Labels[i], model.ErrVocabulary, c.VocabSize)
			}
		}
		b.spans = append(b.spans, device.Span{Slot: s, Row: len(tokens), Len: len(q.Tokens)})
		b.streams = append(b.streams, q.Stream)
		tokens = append(tokens, q.Tokens...)
	}
	if len(tokens) == 0 {
		return nil, errors.New("no tokens to train on")
	}
	return tokens, t.Reserve(len(tokens))
}

// labels returns the rows of a batch that have a label, with the label and its scale.
func (t *Trainer) labels(batch []Sequence) (rows, targets []int, scale []float32) {
	for s, q := range batch {
		for i, label := range q.Labels {
			if label >= 0 {
				rows = append(rows, t.buffers.spans[s].Row+i)
				targets, scale = append(targets, label), append(scale, q.Scale)
			}
		}
	}
	return rows, targets, scale
}

// sumBySequence adds up the losses of all labels, which are in the order of labels.
func sumBySequence(batch []Sequence, losses []float64) []float64 {
	sums := make([]float64, len(batch))
	at := 0
	for s, q := range batch {
		for _, label := range q.Labels {
			if label >= 0 {
				sums[s] += losses[at]
				at++
			}
		}
	}
	return sums
}
