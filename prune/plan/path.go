package plan

import (
	"errors"
	"fmt"

	"mop/runtime/random"
)

// The sequences of the released runs, 18 steps each.
const (
	Released1 = "LGGLLLGGLLGLGLLGGL"
	Released2 = "GGLLGGGLGGGLLLGGLL"
	Released3 = "LGLGGLLGLLGLGLGLGG"
)

// Released lists them.
func Released() []string { return []string{Released1, Released2, Released3} }

// ParseSequence reads a string of L (depth) and G (width).
func ParseSequence(text string) ([]Kind, error) {
	var kinds []Kind
	for i, r := range text {
		switch r {
		case 'L':
			kinds = append(kinds, Depth)
		case 'G':
			kinds = append(kinds, Width)
		default:
			return nil, fmt.Errorf("sequence: want L or G at position %d, got %q", i+1, r)
		}
	}
	if len(kinds) == 0 {
		return nil, errors.New("sequence: want at least one step")
	}
	if len(kinds) > maxSteps {
		return nil, fmt.Errorf("sequence: want at most %d steps, got %d", maxSteps, len(kinds))
	}
	return kinds, nil
}

// Sequence returns a function that gives the kind of step n, from 1, and false after the
// last one.
func Sequence(kinds []Kind) func(n int) (Kind, bool) {
	return func(n int) (Kind, bool) {
		if n > len(kinds) {
			return "", false
		}
		return kinds[n-1], true
	}
}

// Coin is the fair coin of criterion random. The kind of step n, from 1, depends on the
// seed and on n alone.
func Coin(seed uint64, n int) Kind {
	if random.Word(random.Key(seed, "path"), uint64(n))>>63 == 0 {
		return Depth
	}
	return Width
}
