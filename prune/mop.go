// Package prune is MoP, Mixture of Pruners (arXiv 2602.06127). Every step either removes
// the third-to-last layer (a depth step) or removes heads and neurons from all layers (a
// width step), and keeps the better of the two models. Run takes a checkpoint, texts and
// options, and writes one smaller checkpoint per target, with the plan that made it.
package prune

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"mop/internal/journal"
	"mop/prune/criterion"
	"mop/prune/method"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/checkpoint"
)

// run is one pruning run.
type run struct {
	Options

	// From the options.
	method method.Method
	scorer criterion.Scorer // scores both candidates of every step; nil if the path is fixed
	path   criterion.Path   // the fixed path of MoP; unused with a scorer
	score  score.Method     // importance of heads and neurons
	width  plan.Options     // resolved for the model

	// From the model and the files.
	base       checkpoint.Source
	checksum   string // of the base's weights
	inputs     *inputs
	fineTuning map[string]string // what the scores of candidates depend on if they are fine-tuned
	key        string            // checksum of the run's identity

	// State of the run.
	journal   *journal.Journal[record]
	reference *criterion.CachedReference // nil until a criterion needs it
	prefixes  prefixCache
}

// Run prunes and returns the plan of each target's model, in the order of the targets. A
// run can be interrupted or killed at any moment. With Resume it continues after the last
// finished step, and it ends in the same bytes as a run without interruption.
func Run(ctx context.Context, o Options) ([]*plan.Plan, error) {
	// Garbage is a few large arrays. With the default setting it could grow to the size
	// of the live memory, and collecting it costs next to nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	r := &run{Options: o}
	if err := r.validateOptions(); err != nil {
		return nil, OptionsError{err}
	}
	if r.Device == nil {
		dev, err := r.OpenDevice()
		if err != nil {
			return nil, err
		}
		defer dev.Close()
		r.Device = dev
	}
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	r.base = base
	if err := r.validateFiles(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.Out, 0o777); err != nil {
		return nil, err
	}
	unlock, err := checkpoint.Lock(r.Out)
	if errors.Is(err, checkpoint.ErrBusy) {
		return nil, fmt.Errorf("%s: another run is using it", r.Out)
	} else if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.open(); err != nil {
		return nil, err
	}
	defer r.close()
	path, states, err := r.takeSteps(ctx)
	if err != nil {
		return nil, err
	}
	models, err := r.selectTargets(ctx, path, states)
	if err != nil {
		return nil, err
	}
	return r.writeTargets(ctx, models)
}

// open prepares the output directory, which is locked.
func (r *run) open() error {
	if err := r.checkDiskSpace(); err != nil {
		return err
	}
	if err := r.openJournal(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.workDir(), 0o777); err != nil {
		r.journal.Close()
		return err
	}
	if most := r.base.Config().MaxPositions; r.Context > most && len(r.inputs.windows) > 0 {
		slog.Warn("the windows are as long as the model's context, not as long as asked for", "asked", r.Context, "context", most)
	}
	slog.Info("prune", "method", r.method.Name(), "criterion", r.Criterion, "rule", r.width.Rule, "allocation", r.width.Allocation, "seed", r.Seed,
		"prompts", len(r.inputs.prompts), "windows", len(r.inputs.windows), "context", r.contextLength())
	return nil
}

func (r *run) close() {
	r.prefixes.clear()
	if r.reference != nil {
		r.reference.Close()
	}
	r.journal.Close()
}

// takeSteps takes the steps of a Stepper until the largest target is reached or no step is
// possible, and returns the path and the states along it, the base first. Steps that the
// journal holds are not computed again. A OneShot has no path: only the base is returned.
func (r *run) takeSteps(ctx context.Context) (*plan.Plan, []plan.State, error) {
	c := r.base.Config()
	state := plan.New(c)
	path := r.newPlan()
	states := []plan.State{state}
	m, ok := r.method.(method.Stepper)
	if !ok {
		return path, states, nil
	}
	goal := slices.Max(r.Targets)
	if r.TargetLatency {
		goal = 1 // the latency ends the path
	}
	for n := 1; ; n++ {
		if r.ExactTarget && r.remaining(state, goal) <= state.LayerBudget(c.HiddenSize) {
			return path, states, nil // another whole step would exceed the goal
		}
		rec, finished := r.journaled(n)
		if !finished {
			s, err := m.Step(ctx, methodRun{r}, n, state)
			if errors.Is(err, method.ErrEnd) {
				return path, states, nil
			}
			if err == nil && r.scorer == nil {
				err = r.cleanUp()
			}
			if err != nil {
				return nil, nil, err
			}
			rec = record{Step: n, Kind: s.Kind, Layer: s.Layer, Forced: s.Forced, Scores: s.Scores, State: s.State}
			if err := r.journal.Add(rec); err != nil {
				return nil, nil, err
			}
		}
		state = rec.State
		s := path.Add(c, state, rec.Kind, rec.Forced, rec.Scores)
		s.Layer = rec.Layer
		if err := checkStep(*path, state); err != nil {
			return nil, nil, fmt.Errorf("%s: step %d: %w", filepath.Join(r.Out, journalFile), n, err)
		}
		states = append(states, state)
		slog.Info("step", "n", n, "kind", s.Kind, "compression", fmt.Sprintf("%.2f %%", 100*s.Compression), "from_journal", finished)
		if s.Compression >= goal {
			return path, states, nil
		}
		if r.TargetLatency {
			share, err := r.latencyShare(ctx, state)
			if err != nil {
				return nil, nil, err
			}
			if share <= slices.Min(r.Targets) {
				return path, states, nil
			}
		}
	}
}

// checkStep checks the last step of a path, which may come from a journal.
func checkStep(path plan.Plan, s plan.State) error {
	path.Step, path.Layers, path.Groups = len(path.Steps), s.Layers, s.Groups
	return path.Check()
}
