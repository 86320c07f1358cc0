package plan

import (
	"slices"
	"testing"
)

func TestParseTargets(t *testing.T) {
	if got, err := ParseTargets("0.2, 0.3,.4"); err != nil || !slices.Equal(got, []float64{0.2, 0.3, 0.4}) {
		t.Errorf("got %v %v", got, err)
	}
	for _, text := range []string{"", "0", "1", "0.2,", "1.2", "-0.1", "NaN", "Inf", "20%", "0.2,0.3,0.20", "1e-400"} {
		got, err := ParseTargets(text)
		if err == nil {
			err = CheckTargets(got)
		}
		if err == nil {
			t.Errorf("%q: taken as %v", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	c := []float64{0.0625, 0.1875, 0.3125, 0.3125, 0.5}
	for target, want := range map[float64]int{0.01: 1, 0.1: 1, 0.125: 2, 0.2: 2, 0.25: 4, 0.4: 4, 0.41: 5, 0.9: 5} {
		if got := Nearest(c, target); got != want {
			t.Errorf("%v: want step %d, got %d", target, want, got)
		}
	}
}
