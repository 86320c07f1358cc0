package plan

import (
	"errors"
	"fmt"

	"mop/runtime/config"
)

// maxSteps bounds a path. Ordinary paths have about as many steps as the model has
// layers.
const maxSteps = 10_000

// TakeStep makes a step of the wanted kind, or of the other kind if that one is
// impossible; forced is then the reason. If neither is possible, the error joins both
// reasons.
func TakeStep(want Kind, depth, width func() (State, error)) (s State, kind Kind, forced string, err error) {
	step, otherKind, otherStep := depth, Width, width
	if want == Width {
		step, otherKind, otherStep = width, Depth, depth
	}
	s, err = step()
	if err == nil {
		return s, want, "", nil
	}
	if !errors.Is(err, ErrDepth) && !errors.Is(err, ErrWidth) {
		return s, want, "", err
	}
	s, otherErr := otherStep()
	if otherErr != nil {
		return s, otherKind, "", errors.Join(err, otherErr)
	}
	return s, otherKind, err.Error(), nil
}

// DryRun makes a plan from a model's shapes alone. choose returns the kind of step n,
// from 1, and false to end the path. A target above 0 ends the path at the first step
// that reaches it.
func DryRun(base *config.Config, o Options, choose func(n int) (Kind, bool), target float64) (*Plan, error) {
	s := newWithoutIndices(base)
	o, err := o.Resolve(s)
	if err != nil {
		return nil, err
	}
	p := NewPlan(base, o)
	if err := p.Base.check(); err != nil {
		return nil, err
	}
	if o.Allocation == Global {
		return nil, errNoScores
	}
	if target > 0 {
		reach, err := s.Reach(base, o)
		if err != nil {
			return nil, err
		}
		if target > reach {
			return nil, fmt.Errorf("target %v: %w: beyond reach: no path of rule %s comes above %.4f", target, ErrTarget, o.Rule, reach)
		}
	}
	for n := 1; ; n++ {
		kind, ok := choose(n)
		if !ok {
			return p, nil
		}
		if n > maxSteps {
			return nil, fmt.Errorf("steps: want at most %d", maxSteps)
		}
		next, kind, forced, err := TakeStep(kind, s.PruneDepth, func() (State, error) { return s.PruneWidth(base.HiddenSize, o, 0, nil) })
		if errors.Is(err, ErrDepth) && errors.Is(err, ErrWidth) {
			return p, nil
		}
		if err != nil {
			return nil, err
		}
		s = next
		if st := p.Add(base, s, kind, forced, nil); target > 0 && st.Compression >= target {
			return p, nil
		}
	}
}
