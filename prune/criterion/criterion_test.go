package criterion_test

import (
	"math"
	"slices"
	"testing"

	"mop/prune/criterion"
)

// Every criterion of the table is either a Scorer or a Chooser, and found by its name.
func TestTable(t *testing.T) {
	for _, c := range criterion.All() {
		_, scores := c.(criterion.Scorer)
		_, chooses := c.(criterion.Chooser)
		if scores == chooses {
			t.Errorf("%s: scorer %v, chooser %v: want one of them", c.Name(), scores, chooses)
		}
		if found, err := criterion.ByName(c.Name()); err != nil || found != c {
			t.Errorf("%s: found %v, %v", c.Name(), found, err)
		}
		if c.Summary() == "" {
			t.Errorf("%s: no summary", c.Name())
		}
	}
	if want := []string{"kl", "cosine", "cosine-hidden", "ppl", "latency", "random", "sequence"}; !slices.Equal(criterion.Names(), want) {
		t.Errorf("want %v, got %v", want, criterion.Names())
	}
	if _, err := criterion.ByName("vibes"); err == nil {
		t.Error("want an error for an unknown criterion")
	}
}

// Equal scores keep the depth candidate, and a score that is not finite loses.
func TestPrefersWidth(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	highestIsBest := map[string]bool{"cosine": true, "cosine-hidden": true}
	for _, s := range criterion.Scorers() {
		for _, x := range []struct {
			depth, width float64
			want         bool
		}{
			{1, 2, highestIsBest[s.Name()]}, {2, 1, !highestIsBest[s.Name()]}, {1, 1, false},
			{1, nan, false}, {nan, 1, true}, {inf, 1, true}, {-inf, 1, true}, {1, inf, false}, {1, -inf, false}, {nan, nan, false},
		} {
			if got := criterion.PrefersWidth(s, x.depth, x.width); got != x.want {
				t.Errorf("%s: depth %v, width %v: want width preferred: %v, got %v", s.Name(), x.depth, x.width, x.want, got)
			}
		}
	}
}

// A limited path ends after so many steps, or at its own end if that comes first.
func TestPathLimit(t *testing.T) {
	for _, k := range []struct {
		name     string
		settings criterion.Settings
		limit    int
		steps    int // at most 5 are taken
		endless  bool
	}{
		{"random", criterion.Settings{Seed: 3}, 0, 5, true},
		{"random", criterion.Settings{Seed: 3}, 2, 2, false},
		{criterion.Sequence, criterion.Settings{Sequence: "LGG"}, 0, 3, false},
		{criterion.Sequence, criterion.Settings{Sequence: "LGG"}, 2, 2, false},
		{criterion.Sequence, criterion.Settings{Sequence: "LGG"}, 4, 3, false},
	} {
		c, err := criterion.ByName(k.name)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := c.(criterion.Chooser).Path(k.settings)
		if err != nil {
			t.Fatal(err)
		}
		path, steps := whole.Limit(k.limit), 0
		for ; steps < 5; steps++ {
			kind, ok := path.Kind(steps + 1)
			if !ok {
				break
			}
			if want, _ := whole.Kind(steps + 1); kind != want {
				t.Errorf("%s limited to %d: step %d: want %s, got %s", k.name, k.limit, steps+1, want, kind)
			}
		}
		if steps != k.steps || path.Endless != k.endless {
			t.Errorf("%s limited to %d: want %d steps, endless %v, got %d, %v", k.name, k.limit, k.steps, k.endless, steps, path.Endless)
		}
	}
}
