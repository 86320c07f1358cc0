// Package tasks holds the evaluations of a model's quality: what mop eval can run.
//
// A new task is one file with a type that implements Task, and one line in All.
package tasks

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"mop/internal/progress"
	"mop/runtime/open"
)

// Task is one evaluation, a subcommand of mop eval.
type Task interface {
	Name() string    // of the subcommand
	Usage() string   // its required flags, for the help text
	Summary() string // one line
	Example() string

	// Flags registers the task's own flags. The command registers --model and --json.
	Flags(f *pflag.FlagSet)
	// Required lists the flags that must not be empty.
	Required() []string
	// Check returns an error if the flags have values that no run can use.
	Check() error

	// Run evaluates a model.
	Run(ctx context.Context, in Input) (Result, error)
}

// ModelOptional is a Task that can do without a model.
type ModelOptional interface {
	// NeedsModel reports, after the flags are parsed, whether the task runs a model.
	// Without one, Input.Model is nil.
	NeedsModel() bool
}

// Input is what a task works on.
type Input struct {
	Model    *open.Model                            // the model under test
	Load     func(name string) (*open.Model, error) // loads another model onto the same device
	Progress progress.Func                          // may be nil
}

// Result is what a task measured. Its fields are encoded as JSON, and String is the line
// that a person reads.
type Result interface {
	fmt.Stringer
}

// All is the table of the tasks.
func All() []Task {
	return []Task{
		&perplexity{},
		&klDivergence{},
		&multipleChoice{},
		&visualQA{},
	}
}

// Names lists the names of the tasks.
func Names() []string {
	var names []string
	for _, t := range All() {
		names = append(names, t.Name())
	}
	return names
}
