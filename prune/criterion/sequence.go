package criterion

import (
	"slices"

	"mop/prune/plan"
)

// sequence takes the steps that the user gives, so that a published path can be
// repeated.
type sequence struct{}

func (sequence) Name() string    { return "sequence" }
func (sequence) Summary() string { return "the path of --sequence" }

func (sequence) Path(s Settings) (Path, error) {
	kinds, err := plan.ParseSequence(s.Sequence)
	if err != nil {
		return Path{}, err
	}
	return Path{HasWidth: slices.Contains(kinds, plan.Width), Kind: plan.Sequence(kinds)}, nil
}
