package prune

import (
	"math"
	"strings"
	"testing"

	"mop/prune/plan"
)

// Scores that are not finite are refused by the name of what has them.
func TestScoresNotFinite(t *testing.T) {
	s := &plan.Scores{Heads: [][]float64{{1, 2}, {3}}, Neurons: [][]float64{{1}, {2, 3, math.NaN()}}}
	if err := checkScores(s); err == nil || !strings.Contains(err.Error(), "layer 1: the score of neuron 2 is NaN") {
		t.Errorf("got %v", err)
	}
	s.Neurons[1][2] = 4
	if err := checkScores(s); err != nil {
		t.Error(err)
	}
	s.Heads[0][1] = math.Inf(1)
	if err := checkScores(s); err == nil || !strings.Contains(err.Error(), "layer 0: the score of head 1 is +Inf") {
		t.Errorf("got %v", err)
	}
}
