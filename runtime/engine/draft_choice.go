package engine

import (
	"math"

	"mop/runtime/generate"
)

// draftChoice decides how many tokens the draft proposes, by the share of the proposals that
// was accepted and the times of passes, both as they were measured so far.
type draftChoice struct {
	model, draft passTimes
	rate         float64 // probability that a proposal is accepted, 0 = not measured yet
	steps        int
}

// firstRate is assumed until proposals were checked.
const firstRate = 0.7

// probeEvery is the number of steps after which another number of proposals is tried once, so
// that what was measured long ago does not decide for ever.
const probeEvery = 64

// count takes in whether a proposal that was checked was accepted.
func (c *draftChoice) count(accepted bool) {
	if c.rate == 0 {
		c.rate = firstRate
	}
	x := 0.0
	if accepted {
		x = 1
	}
	c.rate += (x - c.rate) / 64
}

// next gives the number of proposals for a step in which the draft proposes tokens of some of
// the sequences that decode.
func (c *draftChoice) next(drafted, sequences int) int {
	if drafted == 0 {
		return 0
	}
	c.steps++
	n := c.best(drafted, sequences)
	if c.steps%probeEvery == 0 {
		if n == generate.MaxDraft {
			return n - 1
		}
		return n + 1
	}
	return n
}

// best is the number of proposals with the most tokens in a time: n proposals, each of which is
// accepted with the same probability, give (1-rate^(n+1))/(1-rate) tokens of a sequence.
func (c *draftChoice) best(drafted, sequences int) (best int) {
	if len(c.model) == 0 {
		return 4
	}
	rate := c.rate
	if rate == 0 {
		rate = firstRate
	}
	rate = min(max(rate, 0.01), 0.99)
	most := 0.0
	for n := range generate.MaxDraft + 1 {
		tokens := float64(drafted)*(1-math.Pow(rate, float64(n+1)))/(1-rate) + float64(sequences-drafted)
		time := c.model.at(sequences+n*drafted) + float64(n)*c.draft.at(drafted)
		if speed := tokens / time; speed > most {
			best, most = n, speed
		}
	}
	return best
}

// passTimes are mean times of passes in seconds, by their number of rows.
type passTimes map[int]float64

// add takes in the time of a pass.
func (t *passTimes) add(rows int, seconds float64) {
	if *t == nil {
		*t = passTimes{}
	}
	if mean, ok := (*t)[rows]; ok {
		seconds = mean + (seconds-mean)/8
	}
	(*t)[rows] = seconds
}

// at is the time of a pass. A number of rows that was not measured lies on the line between
// its neighbours. Beyond them it gets the least time that it can take, so that it is tried:
// more rows take no less time, and fewer rows no less than their share.
func (t passTimes) at(rows int) float64 {
	if seconds, ok := t[rows]; ok {
		return seconds
	}
	below, above := 0, 0
	for n := range t {
		if n < rows {
			below = max(below, n)
		} else if above == 0 || n < above {
			above = n
		}
	}
	switch {
	case below > 0 && above > 0:
		share := float64(rows-below) / float64(above-below)
		return t[below] + share*(t[above]-t[below])
	case below > 0:
		return t[below]
	case above > 0:
		return t[above] * float64(rows) / float64(above)
	}
	return 0
}
