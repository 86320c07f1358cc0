package plan

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mop/runtime/config"
)

// mixed returns a model whose layers differ, with some blocks missing.
func mixed(r *rand.Rand, mha bool) *config.Config {
	c := &config.Config{VocabSize: 50 + r.IntN(200), HiddenSize: 8 * (1 + r.IntN(8)), HeadDim: 4, Tied: r.IntN(2) == 0}
	for range 1 + r.IntN(9) {
		k := []int{0, 1, 2, 3, 5, 8}[r.IntN(6)]
		per := 1
		if !mha {
			per = []int{1, 2, 4}[r.IntN(3)]
		}
		c.Layers = append(c.Layers, Shape{Heads: k * per, KVHeads: k, HeadDim: 4, Intermediate: []int{0, 1, 9, 64, 129, 300}[r.IntN(6)]})
	}
	return c
}

// scoresOf returns random scores, some of them equal.
func scoresOf(r *rand.Rand, s State) *Scores {
	out := &Scores{}
	draw := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(r.IntN(40)) * math.Pow(2, float64(r.IntN(5)))
		}
		return x
	}
	for _, l := range s.Layers {
		out.Heads = append(out.Heads, draw(l.Shape.Heads))
		out.Neurons = append(out.Neurons, draw(l.Shape.Intermediate))
	}
	return out
}

func everyOption() []Options {
	var out []Options
	for _, rule := range Rules() {
		for _, n := range []int{1, 8, 32} {
			for _, h := range []int{1, 2, 4} {
				for _, a := range Allocations() {
					out = append(out, Options{Rule: rule, RoundTo: n, HeadsMultiple: h, Allocation: a})
				}
			}
		}
	}
	return out
}

// For random models and options and both kinds of step: every state is a valid pruning of
// its base and of its predecessor, no size falls below a minimum, a dry run has the same
// sizes, and earlier states do not change.
func TestAnyModel(t *testing.T) {
	for seed := range uint64(12) {
		for i, o := range everyOption() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			mha := o.Rule == "paper" || o.Rule == "exact"
			c := mixed(r, mha)
			s, sizes := New(c), newWithoutIndices(c)
			o, err := o.Resolve(s)
			if err != nil {
				t.Fatal(err)
			}
			for range 12 {
				var next State
				before, _ := json.Marshal(s)
				if r.IntN(4) == 0 {
					next, err = s.PruneDepth()
					sizes, _ = sizes.PruneDepth()
				} else {
					next, err = s.PruneWidth(c.HiddenSize, o, 0, scoresOf(r, s))
					if dryRun, dryErr := sizes.PruneWidth(c.HiddenSize, o, 0, nil); o.Allocation == "uniform" {
						if !errors.Is(dryErr, err) {
							t.Fatalf("%+v: %v with scores, %v without", o, err, dryErr)
						}
						sizes = dryRun
					}
				}
				if after, _ := json.Marshal(s); string(after) != string(before) {
					t.Fatalf("%+v: a step changed the state before it", o)
				}
				if errors.Is(err, ErrDepth) || errors.Is(err, ErrWidth) {
					continue
				}
				if err != nil {
					t.Fatalf("%+v: %v", o, err)
				}
				if err := next.Check(c.Layers); err != nil {
					t.Fatalf("%+v: %v", o, err)
				}
				if len(next.Layers) == len(s.Layers) {
					checkCarries(t, c, o, s, next)
				}
				for l, y := range next.Layers {
					at := slices.IndexFunc(s.Layers, func(x Layer) bool { return x.From == y.From })
					was := s.Layers[at].Shape
					if err := checkPruned(y.Shape, was); err != nil {
						t.Fatalf("%+v: layer %d: %v", o, l, err)
					}
					if len(next.Layers) == len(s.Layers) {
						checkWidth(t, o, y.Shape, was)
					}
				}
				s = next
				if o.Allocation == "uniform" && !slices.Equal(s.Shapes(), sizes.Shapes()) {
					t.Fatalf("%+v: sizes %v, a dry run %v", o, s.Shapes(), sizes.Shapes())
				}
			}
		}
	}
}

// checkWidth checks the minimums and multiples of a layer after a width step.
func checkWidth(t *testing.T, o Options, now, was Shape) {
	t.Helper()
	if now.Intermediate%o.RoundTo != 0 && (now.Intermediate > o.RoundTo || now.Intermediate != was.Intermediate) || now.Intermediate == 0 && was.Intermediate > 0 {
		t.Fatalf("%+v: %d neurons became %d", o, was.Intermediate, now.Intermediate)
	}
	if now.Heads == was.Heads && (o.Rule == "mlp-only" || o.Rule == "groups" || now.Heads < o.HeadsMultiple) {
		return
	}
	least := 1
	if o.Rule == "groups" {
		least = 2
	}
	if o.Rule == "mlp-only" || was.KVHeads > 0 && now.KVHeads < least || now.Heads%o.HeadsMultiple != 0 {
		t.Fatalf("%+v: %+v became %+v", o, was, now)
	}
}

// checkCarries checks that the carries of a width step and what it removed add up to its
// budget and the old carries, under both allocations.
func checkCarries(t *testing.T, c *config.Config, o Options, before, after State) {
	t.Helper()
	owed, gone := 0.0, float64(before.Config(c).Params()-after.Config(c).Params())
	if o.rounds() {
		owed = before.LayerBudget(c.HiddenSize) - gone
	}
	for i := range before.Layers {
		owed += before.Layers[i].Carry - after.Layers[i].Carry
	}
	if math.Abs(owed) > 1e-6 {
		t.Fatalf("%+v: %v parameters are owed and in no carry", o, owed)
	}
}

// With any rounding, the removed parameters stay within one multiple per layer of the
// budgets, as long as something can be removed.
func TestCarry(t *testing.T) {
	c := preset(t, "llama-2-7b")
	for _, o := range []Options{
		{Rule: "exact", RoundTo: 256}, {Rule: "exact", RoundTo: 8, HeadsMultiple: 4}, {Rule: "mlp-only", RoundTo: 128},
		{Rule: "groups", RoundTo: 64, HeadsMultiple: 2}, {Rule: "paper", RoundTo: 32},
	} {
		s := newWithoutIndices(c)
		should := make([]float64, len(s.Layers))
		for n := range 24 {
			if n%4 == 3 {
				s, _ = s.PruneDepth()
				continue
			}
			share := s.LayerBudget(c.HiddenSize) / float64(len(s.Layers))
			next, err := s.PruneWidth(c.HiddenSize, o, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			s = next
			for i, l := range s.Layers {
				should[l.From] += share
				off := should[l.From] - float64(c.Layers[l.From].Params(c.HiddenSize)-l.Shape.Params(c.HiddenSize))
				if math.Abs(off-l.Carry) > 1e-3 {
					t.Fatalf("%+v: step %d: layer %d: %v parameters are owed, the carry is %v", o, n, i, off, l.Carry)
				}
				limit := float64(3 * c.HiddenSize * o.RoundTo)
				if o.Rule == "paper" { // counts half a head as half a neuron, until the next step
					limit += float64(kvHeadParams(l.Shape, c.HiddenSize))
				}
				if math.Abs(off) > limit {
					t.Fatalf("%+v: step %d: layer %d: %v parameters off, want at most %v", o, n, i, off, limit)
				}
			}
		}
	}
}

// A multiple that is larger than what a step removes delays the removal to later steps.
// Such a step is possible, although it removes nothing.
func TestCarryAccumulates(t *testing.T) {
	c := &config.Config{VocabSize: 10, HiddenSize: 8, HeadDim: 4}
	for range 30 {
		c.Layers = append(c.Layers, Shape{Heads: 2, KVHeads: 2, HeadDim: 4, Intermediate: 512})
	}
	s, o := newWithoutIndices(c), Options{Rule: "mlp-only", RoundTo: 64}
	var widths []int
	for range 4 {
		next, err := s.PruneWidth(c.HiddenSize, o, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		s = next
		widths = append(widths, s.Layers[0].Shape.Intermediate)
	}
	// A step is 12560/30/24 = 17.4 neurons at first: 512-17 stays 512, 512-35 is
	// nearest to 448, and the next two only make up for the 29 too many.
	if want := []int{512, 448, 448, 448}; !slices.Equal(widths, want) {
		t.Errorf("want %v, got %v", want, widths)
	}
}

func TestNearestMultiple(t *testing.T) {
	for _, c := range []struct {
		x          float64
		n, p, want int
	}{
		{100, 8, 200, 96}, {100.01, 8, 200, 104}, {99, 8, 200, 96}, {-7, 8, 200, 8}, {300, 8, 203, 200},
		{5, 8, 7, 7}, {5, 8, 0, 0}, {9941.5, 1, 11008, 9941}, {math.Inf(1), 8, 16, 16}, {math.Inf(-1), 8, 16, 8},
	} {
		if got := nearestMultiple(c.x, c.n, c.p); got != c.want {
			t.Errorf("%v to a multiple of %d in %d: want %d, got %d", c.x, c.n, c.p, c.want, got)
		}
	}
}

// A case worked by hand: the lowest scores are removed, of equal ones the first, and KV
// heads with their query heads.
func TestRemoveLowest(t *testing.T) {
	l := Layer{Shape: Shape{Heads: 6, KVHeads: 3, HeadDim: 4, Intermediate: 5},
		Heads: []int{2, 3, 4, 5, 8, 9}, KVHeads: []int{1, 2, 4}, Neurons: []int{0, 3, 4, 7, 9}}
	l.remove(removal{kvHeads: 1, neurons: 3}, []float64{0, 9, 4, 4, 1, 9}, []float64{2, 1, 2, 2, 5}) // groups' means 4.5, 4, 5
	if want := []int{2, 3, 8, 9}; !slices.Equal(l.Heads, want) {
		t.Errorf("heads: want %v, got %v", want, l.Heads)
	}
	if want := []int{1, 4}; !slices.Equal(l.KVHeads, want) {
		t.Errorf("kv heads: want %v, got %v", want, l.KVHeads)
	}
	if want := []int{7, 9}; !slices.Equal(l.Neurons, want) {
		t.Errorf("neurons: want %v, got %v", want, l.Neurons)
	}
}

func TestScoresRefused(t *testing.T) {
	c := mixedPlain()
	s := New(c)
	for want, spoil := range map[string]func(*Scores){
		"want 4 layers":                    func(x *Scores) { x.Neurons = x.Neurons[1:] },
		"layer 2: want 4 heads":            func(x *Scores) { x.Heads[2] = x.Heads[2][1:] },
		"layer 1: neuron 5: want a finite": func(x *Scores) { x.Neurons[1][5] = math.NaN() },
		"layer 3: head 0: want a finite":   func(x *Scores) { x.Heads[3][0] = math.Inf(1) },
	} {
		x := scoresOf(rand.New(rand.NewPCG(1, 1)), s)
		spoil(x)
		if _, err := s.PruneWidth(c.HiddenSize, Options{}, 0, x); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	x := scoresOf(rand.New(rand.NewPCG(1, 1)), s)
	x.Neurons[2][7] = -1
	if _, err := s.PruneWidth(c.HiddenSize, Options{Allocation: "global"}, 0, x); err == nil || !strings.Contains(err.Error(), "layer 2: neuron 7") {
		t.Errorf("a negative score under global: got %v", err)
	}
	if _, err := newWithoutIndices(c).PruneWidth(c.HiddenSize, Options{}, 0, scoresOf(rand.New(rand.NewPCG(1, 1)), s)); err == nil {
		t.Error("scores for a state of sizes alone were taken")
	}
}

func mixedPlain() *config.Config {
	c := &config.Config{VocabSize: 32, HiddenSize: 16, HeadDim: 4}
	for range 4 {
		c.Layers = append(c.Layers, Shape{Heads: 4, KVHeads: 4, HeadDim: 4, Intermediate: 48})
	}
	return c
}

// The global allocation removes the totals of the uniform one, from the layer whose lowest
// scores are lowest relative to its own mean.
func TestGlobal(t *testing.T) {
	c := &config.Config{VocabSize: 32, HiddenSize: 16, HeadDim: 4}
	for range 6 {
		c.Layers = append(c.Layers, Shape{Heads: 8, KVHeads: 8, HeadDim: 4, Intermediate: 64})
	}
	for _, o := range []Options{{Rule: "exact"}, {Rule: "exact", RoundTo: 8}, {Rule: "exact", RoundTo: 8, HeadsMultiple: 2}, {Rule: "groups"}, {Rule: "mlp-only", RoundTo: 16}} {
		r := rand.New(rand.NewPCG(3, 3))
		s := New(c)
		for n := range 12 {
			x := scoresOf(r, s)
			for i := range x.Neurons[0] { // half of layer 0 is far below its mean, which is huge
				x.Neurons[0][i] = 1e9 * float64(1+i%2*1000)
			}
			uniform, err := s.PruneWidth(c.HiddenSize, o, 0, x)
			if errors.Is(err, ErrWidth) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			o.Allocation = "global"
			global, err := s.PruneWidth(c.HiddenSize, o, 0, x)
			if err != nil {
				t.Fatal(err)
			}
			o.Allocation = "uniform"
			totals := func(s State) (sum [3]int, carry float64) {
				for _, l := range s.Layers {
					sum[0] += l.Shape.Heads
					sum[1] += l.Shape.KVHeads
					sum[2] += l.Shape.Intermediate
					carry += l.Carry
				}
				return sum, carry
			}
			u, uc := totals(uniform)
			g, gc := totals(global)
			if u != g || math.Abs(uc-gc) > 1e-6 {
				t.Fatalf("%+v: step %d: uniform leaves %v and owes %v, global %v and %v", o, n, u, uc, g, gc)
			}
			if n == 0 && global.Layers[0].Shape.Intermediate >= uniform.Layers[0].Shape.Intermediate {
				t.Errorf("%+v: layer 0 has many low scores and keeps %d neurons, by uniform %d", o, global.Layers[0].Shape.Intermediate, uniform.Layers[0].Shape.Intermediate)
			}
			s = global
		}
	}
	if _, err := newWithoutIndices(c).PruneWidth(c.HiddenSize, Options{Allocation: "global"}, 0, nil); err == nil {
		t.Error("global without scores was taken")
	}
	if _, err := DryRun(c, Options{Allocation: "global"}, Sequence([]Kind{Depth}), 0); err == nil {
		t.Error("a dry run by global was made")
	}
}

// A width step with a given budget removes at least the budget and less than one neuron
// per layer more. Equal layers stay equal.
func TestExactBudget(t *testing.T) {
	for _, o := range []Options{{}, {Rule: "paper"}, {Rule: "mlp-only"}, {Rule: "groups"}, {RoundTo: 64}, {RoundTo: 64, HeadsMultiple: 4}} {
		for _, part := range []float64{1e-7, 0.01, 0.3, 0.999, 1, 1.7} {
			c := preset(t, "llama-2-7b")
			p := dry(t, c, o, "GLGGL")
			s := newWithoutIndices(c)
			s.Layers = s.Layers[:len(p.Steps[4].Shapes)]
			for l := range s.Layers {
				s.Layers[l].Shape = p.Steps[4].Shapes[l]
				s.Layers[l].Carry = 1e6 // what is left to the target holds all debts
			}
			s.Groups = 1.5 // a group is due, which a small budget cannot pay for
			want := part * s.LayerBudget(c.HiddenSize)
			next, err := s.PruneWidth(c.HiddenSize, o, want, nil)
			if err != nil {
				t.Fatalf("%+v: %v", o, err)
			}
			uniform(t, next.Shapes())
			gone := float64(s.Config(c).Params() - next.Config(c).Params())
			if over := gone - want; over < 0 || over >= float64(len(s.Layers)*3*c.HiddenSize*max(o.RoundTo, 1)) {
				t.Errorf("%+v: %.0f parameters were to go, %.0f went", o, want, gone)
			}
		}
	}
	s, c := newWithoutIndices(mixedPlain()), mixedPlain()
	if _, err := s.PruneWidth(c.HiddenSize, Options{}, 1e9, nil); !errors.Is(err, ErrWidth) {
		t.Errorf("more than there is: got %v", err)
	}
	for _, p := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := s.PruneWidth(c.HiddenSize, Options{}, p, nil); err == nil || errors.Is(err, ErrWidth) {
			t.Errorf("a budget of %v: got %v", p, err)
		}
	}
}

// The same for layers that differ: what one cannot lose is removed from the others.
func TestExactBudgetMixed(t *testing.T) {
	done := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 9))
		c := mixed(r, seed%2 == 0)
		s := New(c)
		var unit float64 // the coarsest thing that each layer has
		for _, l := range c.Layers {
			if l.Intermediate > 1 {
				unit += float64(3 * c.HiddenSize)
			} else {
				unit += float64(kvHeadParams(l, c.HiddenSize))
			}
		}
		want := r.Float64() * 0.8 * float64(c.Params())
		next, err := s.PruneWidth(c.HiddenSize, Options{}, want, scoresOf(r, s))
		if errors.Is(err, ErrWidth) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		done++
		if over := float64(c.Params()-next.Config(c).Params()) - want; over < 0 || over > unit {
			t.Errorf("seed %d: %v over the budget, want 0 to %v: %v to %v", seed, over, unit, c.Layers, next.Shapes())
		}
	}
	if done < 50 {
		t.Fatalf("only %d budgets could be met", done)
	}
}

// A state that is read back from JSON continues to the same bytes.
func TestResume(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	c := mixedPlain()
	for l := range c.Layers {
		c.Layers[l].Intermediate = 400
	}
	o := Options{Rule: "groups", RoundTo: 8}
	s := New(c)
	for range 5 {
		x := scoresOf(r, s)
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back State
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		a, errA := s.PruneWidth(c.HiddenSize, o, 0, x)
		b, errB := back.PruneWidth(c.HiddenSize, o, 0, x)
		if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("want %+v (%v)\ngot  %+v (%v)", a, errA, b, errB)
		}
		s = a
	}
}

// Rule groups keeps two KV heads, however many steps follow.
func TestGroupsKeepsTwoKVHeads(t *testing.T) {
	c := preset(t, "llama-3-8b")
	s, most := newWithoutIndices(c), 0
	for range 60 {
		next, err := s.PruneWidth(c.HiddenSize, Options{Rule: "groups"}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, s.Layers[0].Shape.KVHeads-next.Layers[0].Shape.KVHeads)
		s = next
	}
	if y := uniform(t, s.Shapes()); y.KVHeads != 2 || y.Heads != 8 || most != 1 {
		t.Errorf("want 2 groups, one gone a step, got %+v and %d", y, most)
	}
}

func TestOptionsRefused(t *testing.T) {
	gqa := newWithoutIndices(preset(t, "llama-3-8b"))
	for want, o := range map[string]Options{
		"rule paper: wants as many":      {Rule: "paper"},
		"rule exact: wants as many":      {Rule: "exact"},
		"rule: want one of":              {Rule: "best"},
		"allocation: want":               {Allocation: "local"},
		"round_to: want 1":               {RoundTo: -8},
		"heads_multiple: want 1":         {HeadsMultiple: -1},
		"round_to: want 1 to 16777216, ": {RoundTo: math.MaxInt},
	} {
		if _, err := o.Resolve(gqa); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: want %q, got %v", o, want, err)
		}
	}
	for name, want := range map[string]string{"llama-2-7b": "exact", "llama-3-8b": "mlp-only"} {
		o, err := Options{}.Resolve(newWithoutIndices(preset(t, name)))
		if err != nil || o != (Options{want, 1, 1, "uniform"}) {
			t.Errorf("%s: want rule %s, got %+v %v", name, want, o, err)
		}
	}
}

// The global allocation makes every size a multiple, also in a layer from which nothing
// would be removed by the scores alone.
func TestGlobalRoundsEveryLayer(t *testing.T) {
	c := &config.Config{VocabSize: 32, HiddenSize: 16, HeadDim: 4}
	for range 4 {
		c.Layers = append(c.Layers, Shape{Heads: 1, KVHeads: 1, HeadDim: 4, Intermediate: 133})
	}
	s, x := New(c), &Scores{}
	for l := range c.Layers {
		mlp := make([]float64, 133)
		for i := range mlp {
			mlp[i] = 1
			if l == 0 && i > 0 {
				mlp[i] = 1e-3
			}
		}
		x.Heads, x.Neurons = append(x.Heads, []float64{1}), append(x.Neurons, mlp)
	}
	next, err := s.PruneWidth(c.HiddenSize, Options{Rule: "mlp-only", RoundTo: 8, Allocation: "global"}, 0, x)
	if err != nil {
		t.Fatal(err)
	}
	// A step is 34.75 neurons a layer: uniform leaves 96 in each, 148 go. Global
	// takes 5 from each for the multiple, 15 eights from layer 0 and one more from
	// the first of its equals.
	var got []int
	for _, y := range next.Shapes() {
		got = append(got, y.Intermediate)
	}
	if want := []int{8, 120, 128, 128}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}
