package plan

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ErrTarget marks a compression that no model can have, or none that is cut from this
// base.
var ErrTarget = errors.New("no possible compression")

// CheckTarget refuses what lies outside (0, 1).
func CheckTarget(x float64) error {
	if !(x > 0 && x < 1) {
		return fmt.Errorf("target %v: %w: want a number in (0, 1)", x, ErrTarget)
	}
	return nil
}

// CheckTargets refuses an empty list, targets outside (0, 1), and duplicates.
func CheckTargets(targets []float64) error {
	if len(targets) == 0 {
		return errors.New("targets: want at least one")
	}
	for i, t := range targets {
		if err := CheckTarget(t); err != nil {
			return err
		}
		if slices.Contains(targets[:i], t) {
			return fmt.Errorf("targets: %v is given twice", t)
		}
	}
	return nil
}

// ParseTargets reads numbers with commas between them, such as "0.2,0.3,0.4". Whether
// they can be targets is checked by CheckTargets.
func ParseTargets(text string) ([]float64, error) {
	var targets []float64
	for f := range strings.SplitSeq(text, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil {
			return nil, fmt.Errorf("targets: want numbers in (0, 1) with commas between, got %q", f)
		}
		targets = append(targets, x)
	}
	return targets, nil
}

// Nearest returns the step, from 1, whose compression is nearest to the target. Of two
// equally near ones it is the later step, whose model is smaller. compressions[0] is
// that of step 1.
func Nearest(compressions []float64, target float64) int {
	best := 0
	for i, c := range compressions {
		if math.Abs(c-target) <= math.Abs(compressions[best]-target) {
			best = i
		}
	}
	return best + 1
}
