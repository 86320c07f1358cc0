package criterion

import "mop/prune/plan"

// random decides every step by a seeded fair coin. It has no end.
type random struct{}

func (random) Name() string    { return "random" }
func (random) Summary() string { return "a coin, by --seed" }

func (random) Path(s Settings) (Path, error) {
	return Path{HasWidth: true, Endless: true, Kind: func(n int) (plan.Kind, bool) { return plan.Coin(s.Seed, n), true }}, nil
}
