package generate

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// The distribution that a token is sampled from is that of transformers' logits
// processors. testdata/sampling.py made the golden file.
func TestGoldenDistributions(t *testing.T) {
	data, err := os.ReadFile("testdata/sampling.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Temperature   float64
			TopK          int     `json:"top_k"`
			TopP          float64 `json:"top_p"`
			MinP          float64 `json:"min_p"`
			Penalty       float64
			Logits        []float32 // [V]
			Seen          []int
			Probabilities []float64 // [V]
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 90 {
		t.Fatalf("want many cases, got %d", len(golden.Cases))
	}
	for n, c := range golden.Cases {
		s := SamplingParams{Temperature: c.Temperature, TopK: c.TopK, TopP: c.TopP, MinP: c.MinP, RepetitionPenalty: c.Penalty, Seed: 1}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		p := NewSampler(s, 0, c.Seen)
		got := make([]float64, len(c.Logits))
		if s.Temperature == 0 {
			token, err := p.choose(c.Logits)
			if err != nil {
				t.Fatal(err)
			}
			got[token] = 1
		} else {
			list, sum := p.keep(c.Logits)
			for _, x := range list {
				got[x.token] = x.z / sum
			}
		}
		for token, want := range c.Probabilities {
			// transformers sums in float32 and the file has nine digits.
			if math.Abs(got[token]-want) > 2e-6 || (got[token] == 0) != (want == 0) {
				t.Errorf("case %d, %+v: token %d: want probability %v, got %v", n, s, token, want, got[token])
			}
		}
	}
}

// Tokens come as often as their probability says, the same for the same seed, others for
// another seed and for another sequence of a batch.
func TestSampleFrequencies(t *testing.T) {
	logits := []float32{float32(math.Log(0.5)), float32(math.Log(0.3)), float32(math.Log(0.2))}
	s := SamplingParams{Temperature: 1, Seed: 7}
	const n = 20000
	draw := func(seed uint64, seq int) (tokens []int) {
		s.Seed = seed
		p := NewSampler(s, seq, nil)
		for range n {
			token, err := p.Next(logits)
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, token)
		}
		return tokens
	}
	first := draw(7, 0)
	count := map[int]float64{}
	for _, token := range first {
		count[token]++
	}
	chi := 0.0
	for token, p := range []float64{0.5, 0.3, 0.2} {
		chi += (count[token] - n*p) * (count[token] - n*p) / (n * p)
	}
	if chi > 13.8 { // one in a thousand, two degrees of freedom
		t.Errorf("chi-square of %d samples: %.1f, counts %v", n, chi, count)
	}
	differ := func(b []int) (k int) {
		for i := range first {
			if first[i] != b[i] {
				k++
			}
		}
		return k
	}
	if k := differ(draw(7, 0)); k > 0 {
		t.Errorf("the same seed samples %d of %d tokens differently", k, n)
	}
	for what, other := range map[string][]int{"another seed": draw(8, 0), "another sequence": draw(7, 1)} {
		if k := differ(other); k < n/2 {
			t.Errorf("%s differs in %d of %d tokens only", what, k, n)
		}
	}
}

// At the smallest temperatures the argmax token is sampled; at the largest all tokens have
// the same probability.
func TestExtremeTemperatures(t *testing.T) {
	logits := []float32{1, 3, 2.999}
	for _, cold := range []float64{1e-300, 5e-324} {
		if token, err := NewSampler(SamplingParams{Temperature: cold}, 0, nil).Next(logits); err != nil || token != 1 {
			t.Errorf("temperature %v: want token 1, got %d, %v", cold, token, err)
		}
	}
	list, sum := NewSampler(SamplingParams{Temperature: 1e308}, 0, nil).keep(logits)
	for _, c := range list {
		if math.Abs(c.z/sum-1./3) > 1e-12 {
			t.Errorf("temperature 1e308: token %d has probability %v", c.token, c.z/sum)
		}
	}
}

// A token that was sampled counts as seen from then on.
func TestPenaltyRemembers(t *testing.T) {
	p := NewSampler(SamplingParams{RepetitionPenalty: 2}, 0, []int{2})
	for step, want := range []int{0, 1, 0} { // 3, 2.5 -> 1.5, 2.5 -> 1.5, 1.25
		if token, err := p.Next([]float32{3, 2.5, 1}); err != nil || token != want {
			t.Errorf("step %d: want %d, got %d, %v", step, want, token, err)
		}
	}
}

func TestNotFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, s := range []SamplingParams{{}, {Temperature: 1}} {
			if _, err := NewSampler(s, 0, nil).Next([]float32{0, float32(bad), 1}); !errors.Is(err, ErrNotFinite) {
				t.Errorf("%+v: a logit %v: got %v", s, bad, err)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, s := range []SamplingParams{{Temperature: -1}, {Temperature: math.NaN()}, {Temperature: math.Inf(1)}, {TopK: -1}, {TopP: -0.1}, {TopP: 1.1},
		{TopP: math.NaN()}, {MinP: 2}, {MinP: math.NaN()}, {RepetitionPenalty: -1}, {RepetitionPenalty: math.Inf(1)}, {RepetitionPenalty: math.NaN()}} {
		if s.Check() == nil {
			t.Errorf("%+v: want an error", s)
		}
	}
	if err := (SamplingParams{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepetitionPenalty: 1.1}).Check(); err != nil {
		t.Error(err)
	}
}

// Filters over a large vocabulary keep what sorting all of it would keep.
func TestSortTopKeepsTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 5000)
	for i := range logits {
		logits[i] = float32(math.Round(r.NormFloat64()*40) / 10) // with equal ones
	}
	for _, s := range []SamplingParams{{TopK: 1}, {TopK: 50}, {TopK: 4999}, {TopP: 0.01}, {TopP: 0.9}, {TopP: 0.999999}, {MinP: 0.3}, {MinP: 1e-9}, {TopK: 700, TopP: 0.8, MinP: 0.02}, {TopP: 0.95, MinP: 0.001}} {
		for _, temperature := range []float64{1e-30, 0.3, 1, 7, 1e308} {
			s.Temperature = temperature
			list, sum := NewSampler(s, 0, nil).keep(logits)
			list = slices.Clone(list)
			all := make([]candidate, len(logits))
			for i, z := range logits {
				all[i] = candidate{i, float64(z)}
			}
			slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.z, a.z), cmp.Compare(a.token, b.token)) })
			want := 0.0
			for i, x := range list {
				if x.token != all[i].token {
					t.Fatalf("%+v: token %d: want %d, got %d", s, i, all[i].token, x.token)
				}
				want += math.Exp((all[i].z - all[0].z) / temperature)
			}
			if math.Abs(sum-want) > 1e-9*want || s.TopK > 0 && len(list) > s.TopK {
				t.Errorf("%+v: want a sum of %v over %d tokens, got %v", s, want, len(list), sum)
			}
		}
	}
}

// onlyToken allows one token.
type onlyToken int

func (c onlyToken) Restrict(z []float32, to float32) error {
	for token := range z {
		if token != int(c) {
			z[token] = to
		}
	}
	return nil
}

func (onlyToken) Accept(int) error { return nil }

// Where the rules forbid all that a constraint allows, there is no next token, with any sampling;
// the sampler is unchanged, and goes on where something is allowed again.
func TestNoToken(t *testing.T) {
	logits := []float32{3, 2, 1}
	for _, s := range []SamplingParams{{}, {RepetitionPenalty: 2}, {RepetitionPenalty: 0.5}, {Temperature: 1}, {Temperature: 1, TopK: 2}, {Temperature: 1, TopP: 0.5}, {Temperature: 1, MinP: 0.1}} {
		p := NewSampler(s, 0, []int{0, 2})
		p.Rules, p.Constraint = LogitRules{Forbidden: []int{2}, MinTokens: 2}, onlyToken(2)
		for range 3 {
			if token, err := p.Next(logits); !errors.Is(err, ErrNoToken) {
				t.Fatalf("%+v: want %v, got token %d, %v", s, ErrNoToken, token, err)
			}
		}
		p.Rules.MinTokens = 0
		if token, err := p.Next(logits); err != nil || token != 2 {
			t.Errorf("%+v: want token 2, got %d, %v", s, token, err)
		}
	}
}

// Rules change the logits that a token is chosen from.
func TestLogitRules(t *testing.T) {
	logits := []float32{3, 2.5, 2, 0}
	tokens := func(r LogitRules) (out []int) {
		p := NewSampler(SamplingParams{}, 0, []int{0})
		p.Rules = r
		for range 5 {
			token, err := p.Next(logits)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, token)
		}
		return out
	}
	for _, c := range []struct {
		rules LogitRules
		want  []int
	}{
		{LogitRules{}, []int{0, 0, 0, 0, 0}},
		{LogitRules{Presence: 0.75}, []int{0, 1, 0, 0, 0}},  // 2.25, 1.75, 2: and no further
		{LogitRules{Frequency: 0.75}, []int{0, 1, 0, 2, 1}}, // the prompt does not count
		{LogitRules{Bias: map[int]float64{3: 4}}, []int{3, 3, 3, 3, 3}},
		{LogitRules{Forbidden: []int{0, 1}, MinTokens: 2}, []int{2, 2, 0, 0, 0}},
	} {
		if got := tokens(c.rules); !slices.Equal(got, c.want) {
			t.Errorf("%+v: want %v, got %v", c.rules, c.want, got)
		}
	}
	if logits[0] != 3 || logits[3] != 0 {
		t.Error("the logits were changed")
	}
}
