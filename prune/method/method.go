// Package method decides what is removed from a model: MoP, its two kinds of step alone,
// and the methods that they are compared with. All of them end in a plan.State, from which
// prune makes the checkpoint, so that every method runs on every model.
//
// A new method is one file with a type that implements Stepper or OneShot, and one line in
// All.
package method

import (
	"context"
	"errors"

	"mop/internal/choices"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/model"
)

// Method is what every method has. Each one is also a Stepper or a OneShot.
type Method interface {
	Name() string    // value of --method
	Summary() string // one phrase for the help text
	Uses() Uses

	// Reach is the largest compression of a model.
	Reach(base *config.Config, width plan.Options) (float64, error)
}

// Uses says which options of a run a method uses. Others are refused if they are given.
type Uses struct {
	Criterion bool // criterion and sequence, and the latency as a target
	Scores    bool // the choice of the scores of heads and neurons
	Rule      bool // the options of width steps
	Prompts   bool // the calibration prompts, also where no score needs them
	Windows   int  // windows of the text: the number that is the default, 0 = it uses none
}

// Stepper removes one part after another. All targets lie on its path.
type Stepper interface {
	Method

	// Columns reports whether a step may remove heads and neurons.
	Columns() bool

	// Step takes step n, from 1, from a state. The error ErrEnd ends the path.
	Step(ctx context.Context, r Run, n int, s plan.State) (Step, error)
}

// OneShot removes heads and neurons from the dense model, for each target at once.
type OneShot interface {
	Method

	// Score is the score of heads and neurons that it measures on the dense model.
	Score(seed uint64) (score.Method, error)

	// Prune removes at least budget parameters from the dense model, and less than one
	// neuron of each layer more. Of a layer without neurons it is less than one KV head.
	Prune(c *config.Config, width plan.Options, budget float64, scores *plan.Scores) (plan.State, error)
}

// ErrEnd means that no step is left.
var ErrEnd = errors.New("the path ends")

// Step is a step that a Stepper has taken.
type Step struct {
	State  plan.State
	Kind   plan.Kind
	Layer  *int                   // that a depth step has removed, from 0; nil = the third-to-last
	Forced string                 // why the other kind of step was impossible
	Scores map[plan.Kind]*float64 // what was measured for the step
}

// Run is what a Stepper can use of a pruning run.
type Run interface {
	// CompareCandidates takes a step of MoP by the criterion of the options.
	CompareCandidates(ctx context.Context, n int, s plan.State) (Step, error)

	// PruneWidth removes heads and neurons by the rule and the scores of the options.
	PruneWidth(ctx context.Context, n int, s plan.State) (plan.State, error)

	// Load loads the model of a state. The caller calls free in the end.
	Load(s plan.State) (m *model.Model, free func(), err error)

	Dense() plan.State               // of the unpruned model
	Prompts() [][]int                // of the calibration file, if Uses says so
	Windows() []dataset.Window       // of the text, if Uses says so
	Tick(phase string, n int) func() // is called n times, to report the progress of a phase
}

// All is the table of the methods. The first one is the default. Each call returns new
// values, which a run may change.
func All() []Method {
	return []Method{
		mop{},
		depth{},
		width{},
		&shortGPT{},
		sleb{},
		magnitude(),
		wandaSP(),
		flap{},
		taylor(),
		randomMethod(),
	}
}

// Help describes every method in one line.
func Help() string { return choices.Help(All()) }

// ByName returns a method of the table. The name "" is that of the default.
func ByName(name string) (Method, error) {
	if name == "" {
		return All()[0], nil
	}
	return choices.ByName("method", All(), name)
}
