package plan

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mop/runtime/random"
)

// The released runs' sequences, 18 steps each.
const (
	Released1 = "LGGLLLGGLLGLGLLGGL"
	Released2 = "GGLLGGGLGGGLLLGGLL"
	Released3 = "LGLGGLLGLLGLGLGLGG"
)

// Released lists them.
func Released() []string { return []string{Released1, Released2, Released3} }

// ParseSequence reads a string of L (depth) and G (width).
func ParseSequence(text string) ([]Kind, error) {
	var out []Kind
	for i, r := range text {
		switch r {
		case 'L':
			out = append(out, Depth)
		case 'G':
			out = append(out, Width)
		default:
			return nil, fmt.Errorf("sequence: want L or G at position %d, got %q", i+1, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("sequence: want at least one step")
	}
	if len(out) > maxSteps {
		return nil, fmt.Errorf("sequence: want at most %d steps, got %d", maxSteps, len(out))
	}
	return out, nil
}

// Coin is the fair coin of criterion random: step n (from 1) depends on the seed
// and n alone.
func Coin(seed uint64, n int) Kind {
	if random.Word(random.Key(seed, "path"), uint64(n))>>63 == 0 {
		return Depth
	}
	return Width
}

// ErrTarget marks a compression that no model can have, or none of this one.
var ErrTarget = errors.New("no possible compression")

// CheckTarget refuses what lies outside (0, 1).
func CheckTarget(x float64) error {
	if !(x > 0 && x < 1) {
		return fmt.Errorf("target %v: %w: want a number in (0, 1)", x, ErrTarget)
	}
	return nil
}

// ParseTargets reads "0.2,0.3,0.4", each in (0, 1).
func ParseTargets(text string) ([]float64, error) {
	var out []float64
	for f := range strings.SplitSeq(text, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil {
			return nil, fmt.Errorf("targets: want numbers in (0, 1) with commas between, got %q", f)
		}
		if err := CheckTarget(x); err != nil {
			return nil, err
		}
		if slices.Contains(out, x) {
			return nil, fmt.Errorf("targets: %v stands twice", x)
		}
		out = append(out, x)
	}
	return out, nil
}

// Nearest is the step (from 1) whose compression is nearest to the target; a tie
// takes the smaller model, the later step. compressions[0] is step 1's.
func Nearest(compressions []float64, target float64) int {
	best := 0
	for i, c := range compressions {
		if math.Abs(c-target) <= math.Abs(compressions[best]-target) {
			best = i
		}
	}
	return best + 1
}

// Sequence chooses the given kinds in turn and then ends.
func Sequence(kinds []Kind) func(n int) (Kind, bool) {
	return func(n int) (Kind, bool) {
		if n > len(kinds) {
			return "", false
		}
		return kinds[n-1], true
	}
}
