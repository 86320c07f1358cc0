package plan

import (
	"errors"
	"fmt"

	"mop/runtime/config"
)

// maxSteps bounds a path. Every step of a sensible one is about a layer.
const maxSteps = 10_000

// TakeStep makes one step of the wanted kind, or of the other where that one is
// impossible; forced then says why. Where neither is possible the error joins
// both reasons.
func TakeStep(want Kind, depth, width func() (State, error)) (s State, kind Kind, forced string, err error) {
	branches := map[Kind]func() (State, error){Depth: depth, Width: width}
	if s, err = branches[want](); err == nil {
		return s, want, "", nil
	}
	if !errors.Is(err, ErrDepth) && !errors.Is(err, ErrWidth) {
		return s, want, "", err
	}
	other := Depth
	if want == Depth {
		other = Width
	}
	s, second := branches[other]()
	if second != nil {
		return s, other, "", errors.Join(err, second)
	}
	return s, other, err.Error(), nil
}

// DryRun makes a plan from sizes alone: choose gives step n's kind (from 1), and
// false to end; a target above 0 ends the loop where it is reached.
func DryRun(base *config.Config, o Options, choose func(n int) (Kind, bool), target float64) (*Plan, error) {
	s := sizesOf(base)
	o, err := o.Resolve(s)
	if err != nil {
		return nil, err
	}
	p := Begin(base, o)
	if err := p.Base.check(); err != nil {
		return nil, err
	}
	if o.Allocation == "global" {
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
		next, kind, forced, err := TakeStep(kind, s.WithoutLayer, func() (State, error) { return s.PruneWidth(base.HiddenSize, o, 0, nil) })
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
