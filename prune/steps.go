package prune

import (
	"context"
	"errors"
	"fmt"

	"mop/prune/criterion"
	"mop/prune/method"
	"mop/prune/plan"
	"mop/runtime/dataset"
	"mop/runtime/model"
)

// methodRun is a run as its method sees it.
type methodRun struct{ r *run }

var _ method.Run = methodRun{}

// CompareCandidates takes a step of MoP: the kind that the path fixes, or the better one of
// both candidates.
func (m methodRun) CompareCandidates(ctx context.Context, n int, s plan.State) (method.Step, error) {
	step, err := m.r.takeMoPStep(ctx, n, s)
	if errors.Is(err, plan.ErrDepth) && errors.Is(err, plan.ErrWidth) {
		err = method.ErrEnd
	}
	return step, err
}

func (r *run) takeMoPStep(ctx context.Context, n int, s plan.State) (method.Step, error) {
	width := func() (plan.State, error) { return r.pruneWidth(ctx, n, s, 0) }
	if r.scorer != nil {
		return r.scoreCandidates(ctx, n, s.PruneDepth, width)
	}
	kind, ok := r.path.Kind(n)
	if !ok {
		return method.Step{}, method.ErrEnd
	}
	var step method.Step
	var err error
	step.State, step.Kind, step.Forced, err = plan.TakeStep(kind, s.PruneDepth, width)
	return step, err
}

// PruneWidth takes a width step.
func (m methodRun) PruneWidth(ctx context.Context, n int, s plan.State) (plan.State, error) {
	return m.r.pruneWidth(ctx, n, s, 0)
}

// Load loads the model of a state.
func (m methodRun) Load(s plan.State) (loaded *model.Model, free func(), err error) {
	c, err := m.r.loadCandidate(s)
	if err != nil {
		return nil, nil, err
	}
	return c.Model, c.close, nil
}

// Dense is the state of the unpruned model.
func (m methodRun) Dense() plan.State { return plan.New(m.r.base.Config()) }

// Prompts are those of the calibration file.
func (m methodRun) Prompts() [][]int { return m.r.inputs.prompts }

// Windows are those of the text.
func (m methodRun) Windows() []dataset.Window { return m.r.inputs.windows }

// Tick counts what is done of a phase of the current step.
func (m methodRun) Tick(phase string, n int) func() {
	return m.r.Progress.Counter(len(m.r.journal.Records)+1, phase, n)
}

// scoreCandidates takes both kinds of step, scores both models, and keeps the better
// one. If only one kind of step is possible, that one is kept without scores.
func (r *run) scoreCandidates(ctx context.Context, n int, pruneDepth, pruneWidth func() (plan.State, error)) (method.Step, error) {
	var rec method.Step
	depth, depthErr := pruneDepth()
	width, widthErr := pruneWidth()
	for _, err := range []error{depthErr, widthErr} {
		if err != nil && !errors.Is(err, plan.ErrDepth) && !errors.Is(err, plan.ErrWidth) {
			return rec, err
		}
	}
	// The checkpoint of the current model was needed for the scores of the width step only.
	if err := r.cleanUp(depth, width); err != nil {
		return rec, err
	}
	switch {
	case depthErr != nil && widthErr != nil:
		return rec, errors.Join(depthErr, widthErr)
	case depthErr != nil:
		rec.Kind, rec.State, rec.Forced = plan.Width, width, depthErr.Error()
	case widthErr != nil:
		rec.Kind, rec.State, rec.Forced = plan.Depth, depth, widthErr.Error()
	default:
		depthScore, err := r.scoreCandidate(ctx, n, plan.Depth, depth)
		if err != nil {
			return rec, err
		}
		widthScore, err := r.scoreCandidate(ctx, n, plan.Width, width)
		if err != nil {
			return rec, err
		}
		rec.Scores = map[plan.Kind]*float64{plan.Depth: finiteOrNil(depthScore), plan.Width: finiteOrNil(widthScore)}
		if rec.Scores[plan.Depth] == nil && rec.Scores[plan.Width] == nil {
			return rec, fmt.Errorf("%s: step %d: both candidates have a %s on %s that is not finite", r.Model, n, r.Criterion, r.Text)
		}
		rec.Kind, rec.State = plan.Depth, depth
		if criterion.PrefersWidth(r.scorer, depthScore, widthScore) {
			rec.Kind, rec.State = plan.Width, width
		}
	}
	r.prefixes.keepOnly(rec.State)
	if rec.Forced != "" {
		return rec, nil
	}
	return rec, r.cleanUp(rec.State)
}

// finiteOrNil returns x as a plan stores it: null if it is not finite.
func finiteOrNil(x float64) *float64 {
	if x-x != 0 {
		return nil
	}
	return &x
}

// pruneWidth takes a width step from a state, after measuring the importance scores of
// its model. Budget 0 is that of an ordinary step.
func (r *run) pruneWidth(ctx context.Context, n int, s plan.State, budget float64) (plan.State, error) {
	dim := r.base.Config().HiddenSize
	// Sizes alone show whether a step is possible, before anything is computed. They need
	// the uniform allocation, since the global one divides the step by scores.
	sizes := r.width
	sizes.Allocation = plan.Uniform
	if _, err := s.PruneWidth(dim, sizes, budget, nil); err != nil {
		return s, err
	}
	scores, err := r.importance(ctx, n, s)
	if err != nil {
		return s, err
	}
	return s.PruneWidth(dim, r.width, budget, scores)
}
