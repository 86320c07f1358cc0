package criterion

import (
	"slices"

	"mop/prune/plan"
)

// Sequence is the name of the criterion that takes the steps of Settings.Sequence.
const Sequence = "sequence"

// sequence takes the steps that the user gives, so that a published path can be
// repeated.
type sequence struct{}

func (sequence) Name() string    { return Sequence }
func (sequence) Summary() string { return "the path of --sequence" }

func (sequence) Path(s Settings) (Path, error) {
	kinds, err := plan.ParseSequence(s.Sequence)
	if err != nil {
		return Path{}, err
	}
	return Path{HasWidth: slices.Contains(kinds, plan.Width), Kind: plan.Sequence(kinds)}, nil
}
