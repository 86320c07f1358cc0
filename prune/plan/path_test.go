package plan

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestParseSequence(t *testing.T) {
	got, err := ParseSequence("LGG")
	if want := []Kind{Depth, Width, Width}; err != nil || !slices.Equal(got, want) {
		t.Errorf("want %v, got %v %v", want, got, err)
	}
	for text, want := range map[string]string{
		"": "at least one", "LGl": "position 3, got 'l'", "L G": "position 2, got ' '", "é": "position 1, got 'é'",
		strings.Repeat("G", maxSteps+1): "at most",
	} {
		if _, err := ParseSequence(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: want %q, got %v", text, want, err)
		}
	}
	for _, s := range Released() {
		if kinds, err := ParseSequence(s); err != nil || len(kinds) != 18 {
			t.Errorf("%s: %d steps, %v", s, len(kinds), err)
		}
	}
}

// The coin is fair, and a choice is independent of the one before and of the one with the
// seed before: the share of each of the four pairs is within six deviations of a quarter.
func TestCoin(t *testing.T) {
	for name, pair := range map[string]func(seed uint64, n int) (Kind, Kind){
		"next step": func(seed uint64, n int) (Kind, Kind) { return Coin(seed, n), Coin(seed, n+1) },
		"next seed": func(seed uint64, n int) (Kind, Kind) { return Coin(seed, n), Coin(seed+1, n) },
	} {
		count, total := map[Kind]float64{}, 0.0
		for seed := uint64(0); seed < 1000; seed += 2 {
			for n := 1; n <= 40; n += 2 {
				a, b := pair(seed, n)
				count[a+b]++
				total++
			}
		}
		for _, k := range []Kind{Depth + Depth, Depth + Width, Width + Depth, Width + Width} {
			if off := math.Abs(count[k]-total/4) / math.Sqrt(total*3/16); off > 6 {
				t.Errorf("%s: %s %v of %v", name, k, count, total)
			}
		}
	}
	// A published seed must give its path again.
	for seed, want := range readGolden(t).Coins {
		var path []byte
		for n := 1; n <= len(want); n++ {
			path = append(path, map[Kind]byte{Depth: 'L', Width: 'G'}[Coin(seed, n)])
		}
		if string(path) != want {
			t.Errorf("seed %d: want %s, got %s", seed, want, path)
		}
	}
}

// A path of one kind continues with the other kind once its own is impossible, with the
// reason in the plan, and ends when both are.
func TestForced(t *testing.T) {
	c := mixedPlain()
	for _, k := range []struct {
		kind, other Kind
		why         error
	}{{Depth, Width, ErrDepth}, {Width, Depth, ErrWidth}} {
		p, err := DryRun(c, Options{}, func(int) (Kind, bool) { return k.kind, true }, 0)
		if err != nil {
			t.Fatal(err)
		}
		last := Kind("")
		for _, s := range p.Steps {
			if (s.Kind == k.kind) != (s.Forced == "") || s.Forced != "" && (s.Kind != k.other || s.Forced != k.why.Error()) {
				t.Errorf("%s: step %d: %s, forced %q", k.kind, s.Step, s.Kind, s.Forced)
			}
			last = s.Kind
		}
		end := p.Steps[len(p.Steps)-1].Shapes
		if last != k.other || len(end) != 3 || end[0].Heads != 1 || end[0].Intermediate != 1 {
			t.Errorf("%s: ends by %s at %v", k.kind, last, end)
		}
		reach, err := newWithoutIndices(c).Reach(c, Options{})
		if got := p.Steps[len(p.Steps)-1].Compression; err != nil || got != reach {
			t.Errorf("%s: reach %v, ends at %v", k.kind, reach, got)
		}
	}
}

func TestTakeStep(t *testing.T) {
	broken := errors.New("no such file")
	fail := func(err error) func() (State, error) { return func() (State, error) { return State{}, err } }
	if _, _, _, err := TakeStep(Depth, fail(ErrDepth), fail(ErrWidth)); !errors.Is(err, ErrDepth) || !errors.Is(err, ErrWidth) {
		t.Errorf("neither is possible: got %v", err)
	}
	if _, _, _, err := TakeStep(Width, fail(nil), fail(broken)); !errors.Is(err, broken) {
		t.Errorf("a failure was taken for an impossible branch: got %v", err)
	}
	if _, kind, forced, err := TakeStep(Width, fail(nil), fail(ErrWidth)); kind != Depth || forced != ErrWidth.Error() || err != nil {
		t.Errorf("want depth, got %s %q %v", kind, forced, err)
	}
}

// A dry run ends at the first step that reaches the target, and refuses a target that no
// path reaches.
func TestDryTarget(t *testing.T) {
	c := preset(t, "llama-3-8b")
	p, err := DryRun(c, Options{}, func(n int) (Kind, bool) { return Coin(3, n), true }, 0.4)
	if err != nil {
		t.Fatal(err)
	}
	all := p.Compressions()
	if n := len(all); n < 2 || all[n-1] < 0.4 || all[n-2] >= 0.4 {
		t.Errorf("compressions %v", all)
	}
	if _, err := DryRun(c, Options{}, func(int) (Kind, bool) { return Depth, true }, 0.99); err == nil || !strings.Contains(err.Error(), "beyond reach") {
		t.Errorf("target 0.99: got %v", err)
	}
}
