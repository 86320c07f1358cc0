package method

import (
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/config"
)

// uniform is a method that removes the heads and neurons of lowest scores from every layer,
// as many as the rule of width steps says for the whole target.
type uniform struct{ name, summary, score string }

func (m uniform) Name() string    { return m.name }
func (m uniform) Summary() string { return m.summary }
func (m uniform) Uses() Uses      { return Uses{Rule: true} }

func (m uniform) Reach(base *config.Config, width plan.Options) (float64, error) {
	return plan.New(base).WidthReach(base, width)
}

func (m uniform) Score(seed uint64) (score.Method, error) {
	return score.New(score.Options{Heads: m.score, Neurons: m.score, Seed: seed})
}

func (m uniform) Prune(c *config.Config, width plan.Options, budget float64, scores *plan.Scores) (plan.State, error) {
	return plan.New(c).PruneWidth(c.HiddenSize, width, budget, scores)
}
