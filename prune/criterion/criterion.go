// Package criterion decides which candidate of a pruning step is kept: the model after a
// depth step or the one after a width step. A criterion either scores both candidates on
// windows of text (Scorer), or fixes the kinds of the steps beforehand (Chooser).
//
// A new criterion is one file with a type that implements Scorer or Chooser, and one
// line in All.
package criterion

import (
	"context"

	"mop/internal/choices"
	"mop/prune/plan"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// Criterion is what every criterion has. Each one is also a Scorer or a Chooser.
type Criterion interface {
	Name() string    // value of --criterion
	Summary() string // one phrase for the help text
}

// Scorer is a criterion that runs both candidates and keeps the one with the better
// score.
type Scorer interface {
	Criterion

	// Needs says what Score uses besides the candidate's own passes. It is prepared only
	// if it is needed.
	Needs() Needs

	// Score measures a candidate. A score that is not finite loses.
	Score(ctx context.Context, c Candidate) (float64, error)

	// Better reports whether score a is better than score b. Both are finite.
	Better(a, b float64) bool
}

// Needs says what a Scorer uses.
type Needs struct {
	Reference bool // Candidate.Reference, the states of the unpruned model
	Latency   bool // Candidate.LatencyMS and DenseLatencyMS
}

// Candidate is what a Scorer measures.
type Candidate struct {
	Model     *model.Model
	Windows   []dataset.Window // of the text on which models are compared
	Prefixes  metric.Prefixes  // where the passes over the windows begin; nil = at the embedding
	Reference metric.Reference // nil unless needed

	// Latencies of the candidate and of the unpruned model in milliseconds, measured or
	// predicted; 0 unless needed.
	LatencyMS, DenseLatencyMS float64
}

// Chooser is a criterion that fixes the path without running a candidate.
type Chooser interface {
	Criterion

	// Path returns the kinds of the steps, or an error if the settings are wrong.
	Path(s Settings) (Path, error)
}

// Settings are the options of a run that a Chooser may use.
type Settings struct {
	Seed     uint64
	Sequence string // value of --sequence
}

// Path is a sequence of steps that does not depend on scores.
type Path struct {
	// Kind returns the kind of step n, from 1. It returns false after the last step.
	Kind func(n int) (plan.Kind, bool)

	// HasWidth reports whether a step may be a width step, for which prompts are needed.
	HasWidth bool

	// Endless reports whether there is no last step.
	Endless bool
}

// Limit returns the path without the steps after the first n. 0 means no limit.
func (p Path) Limit(n int) Path {
	if n == 0 {
		return p
	}
	kind := p.Kind
	p.Kind = func(step int) (plan.Kind, bool) {
		if step > n {
			return "", false
		}
		return kind(step)
	}
	p.Endless = false
	return p
}

// All is the table of the criteria.
func All() []Criterion {
	return []Criterion{
		kl{},
		cosine{},
		cosineHidden{},
		perplexity{},
		latency{},
		random{},
		sequence{},
	}
}

// Names lists the values of --criterion.
func Names() []string { return choices.Names(All()) }

// Help describes every criterion in one line.
func Help() string { return choices.Help(All()) }

// ByName returns a criterion of the table.
func ByName(name string) (Criterion, error) { return choices.ByName("criterion", All(), name) }

// Scorers lists the criteria that run candidates.
func Scorers() []Scorer {
	var scorers []Scorer
	for _, c := range All() {
		if s, ok := c.(Scorer); ok {
			scorers = append(scorers, s)
		}
	}
	return scorers
}

// PrefersWidth reports whether a Scorer keeps the width candidate. With equal scores the
// depth candidate is kept, and a score that is not finite loses.
func PrefersWidth(s Scorer, depth, width float64) bool {
	switch {
	case !finite(width):
		return false
	case !finite(depth):
		return true
	}
	return s.Better(width, depth)
}

func finite(x float64) bool { return x-x == 0 }

// mean is a running mean.
type mean struct{ sum, n float64 }

func (m *mean) add(x float64) { m.sum, m.n = m.sum+x, m.n+1 }

func (m *mean) value() float64 { return m.sum / m.n }
