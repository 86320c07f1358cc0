// Package score measures how important every head and every neuron of a model is. A
// width step removes those with the lowest scores.
//
// A new score is one file with a type that implements Method, and one line in Methods.
package score

import (
	"context"
	"errors"
	"fmt"

	"mop/internal/choices"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Method is one kind of importance score.
type Method interface {
	Name() string    // short, as in the progress display
	Summary() string // one phrase that says what is measured
	Needs() Needs

	// NewAccumulator returns an accumulator for one model and a number of prompts.
	NewAccumulator(m *model.Model, prompts int) Accumulator
}

// Needs says what a score is measured on.
type Needs struct {
	Prompts   bool // passes over prompts; without it the accumulator sees none
	Gradients bool // gradients of the loss on the prompts, for which the device must train
}

// Accumulator sees the activations of the forward passes over the prompts: the input of
// o_proj and of down_proj of every layer. The model's weights can be read from the model
// that it was made for.
type Accumulator interface {
	model.Observer
	EndPrompt(tokens int) // called after the pass over each prompt
	Scores() *plan.Scores // called after the last prompt
}

// Methods is the table of the scores. The first one is the default.
func Methods() []Method {
	return []Method{
		amp{},
		wanda{},
		flap{},
		magnitude{},
		taylor{},
		randomScore{},
	}
}

// Help lists the names with what each measures.
func Help() string { return choices.Help(Methods()) }

// ByName returns a method of the table.
func ByName(name string) (Method, error) { return choices.ByName("score", Methods(), name) }

// Calibration says on what scores are measured.
type Calibration struct {
	Prompts  [][]int                             // tokens of each prompt
	Prefixes func(prompt int) model.CachedPrefix // where the passes begin; nil = at the embedding
	Known    *plan.Scores                        // scores of the layers that the passes leave out; nil = none
	Weights  checkpoint.Source                   // of the model, for the scores that depend on weights
	Tick     func()                              // called after each prompt; may be nil
}

// Measure runs a model on the prompts, one forward pass each, and returns its scores.
func Measure(ctx context.Context, method Method, m *model.Model, c Calibration) (*plan.Scores, error) {
	if !method.Needs().Prompts {
		c.Prompts, c.Known = nil, nil
	} else if len(c.Prompts) == 0 {
		return nil, errors.New("calibration: no prompts")
	}
	if method.Needs().Gradients {
		return measureGradients(ctx, method, m, c)
	}
	longest := 1
	for _, p := range c.Prompts {
		longest = max(longest, len(p))
	}
	cache, err := kvcache.NewWhole(m.Device(), m.Config, longest)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	accumulator := method.NewAccumulator(m, len(c.Prompts))
	if w, ok := accumulator.(weighted); ok {
		if c.Weights == nil {
			return nil, errNoWeights
		}
		if err := w.readWeights(c.Weights); err != nil {
			return nil, err
		}
	}
	for i, p := range c.Prompts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		cache.Reset()
		var prefix model.CachedPrefix
		if c.Prefixes != nil {
			prefix = c.Prefixes(i)
		}
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: p}}, Observer: accumulator, Prefix: prefix}); err != nil {
			return nil, fmt.Errorf("calibration: prompt %d: %w", i, err)
		}
		accumulator.EndPrompt(len(p))
		if c.Tick != nil {
			c.Tick()
		}
	}
	scores := accumulator.Scores()
	if c.Known != nil {
		copy(scores.Heads, c.Known.Heads)
		copy(scores.Neurons, c.Known.Neurons)
	}
	return scores, nil
}

// zeroScores returns a score of 0 for every head and neuron of a model.
func zeroScores(m *model.Model) *plan.Scores {
	s := &plan.Scores{}
	for _, l := range m.Config.Layers {
		s.Heads, s.Neurons = append(s.Heads, make([]float64, l.Heads)), append(s.Neurons, make([]float64, l.Intermediate))
	}
	return s
}
