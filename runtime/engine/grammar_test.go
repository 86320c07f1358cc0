package engine

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mop/runtime/constrain"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/model"
)

// letters are the texts of the tokens from 3 on. Those before it, and the last ones, are EOS in
// the models of the tests, or stand for no text.
const letters = `{}[]",:-0123456789abcdefghijklmnopqrstuvwxyz `

// tokenOf is the token of a letter.
func tokenOf(letter byte) int { return strings.IndexByte(letters, letter) + 3 }

// grammarOf makes a grammar for a model with a small vocabulary.
func grammarOf(t testing.TB, m *model.Model, schema string) *constrain.Grammar {
	t.Helper()
	s, err := constrain.Compile([]byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	g, err := constrain.NewGrammar(s, constrain.NewVocabulary(m.Config.VocabSize, func(token int) []byte { return []byte(textOf(token)) }, m.Config.EOS))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func textOf(token int) string {
	if token < 3 || token >= len(letters)+3 {
		return ""
	}
	return letters[token-3 : token-2]
}

// testGrammarsInABatch runs requests with grammars beside others without. Those with a grammar have the
// tokens that they have alone, which are JSON where they end by themselves; the others
// have want.
func testGrammarsInABatch(t *testing.T, m *model.Model, newEngine func() *Engine, params []device.SamplingParams, others []*arrival) {
	t.Helper()
	schemas := []string{`{"type":"array","items":{"type":"integer"},"maxItems":4}`, `{"type":"object","properties":{"ab":{"enum":["x","yz",null]},"n":{"type":"integer"}},"required":["ab","n"]}`, `{"type":"string","maxLength":3}`}
	random := rand.New(rand.NewPCG(8, 8))
	var requests []Request
	for i, schema := range schemas {
		for _, p := range params {
			p.Seed = uint64(i)
			requests = append(requests, Request{Prompt: randomPrompt(random, 3+5*i), MaxTokens: 60, Sampling: p, Grammar: grammarOf(t, m, schema), Logprobs: i == 1})
		}
	}
	var want [][]int
	for _, r := range requests {
		e := newEngine()
		result := submit(t, e, r)
		for step(t, e) {
		}
		tokens := ids(t, result)
		want = append(want, tokens)
		var text strings.Builder
		for _, token := range tokens {
			text.WriteString(textOf(token))
		}
		if result.Finish() == FinishEOS && !json.Valid([]byte(text.String())) || result.Finish() == FinishError || result.Finish() == FinishLength && len(tokens) != 60 {
			t.Errorf("got %q, %s, %v", text.String(), result.Finish(), result.err)
		}
	}
	var all []*arrival
	for i, r := range requests {
		all = append(all, &arrival{request: r, step: i, want: want[i]})
	}
	runArrivals(t, newEngine(), append(all, others...))
}

// Requests with grammars beside others, with any sampling, also where a draft proposes tokens.
func TestGrammars(t *testing.T) {
	m := heterogeneousModel(t)
	params := []device.SamplingParams{{}, {RepetitionPenalty: 1.3}, {Temperature: 1}, {Temperature: 1.2, TopK: 9}, {Temperature: 1.5, TopP: 0.8, MinP: 0.01}}
	others := func() []*arrival { return randomArrivals(t, m, rand.New(rand.NewPCG(3, 7)), 12, 60, params[:3]) }
	testGrammarsInABatch(t, m, func() *Engine { return newEngine(t, m, Options{MaxBatch: 5}) }, params, others())
	draft := draftOf(t, m, false)
	greedy := slices.DeleteFunc(others(), func(a *arrival) bool { return a.request.Sampling.Temperature > 0 })
	testGrammarsInABatch(t, m, func() *Engine { return newEngine(t, m, Options{MaxBatch: 5, Draft: &Draft{draft, 3}}) }, params, greedy)
}

// A text that can be complete but may go on ends by EOS, one that cannot go on without it; the
// rules of a request hold within its grammar.
func TestGrammarEnds(t *testing.T) {
	m := heterogeneousModel(t)
	e := newEngine(t, m, Options{MaxBatch: 1})
	for _, c := range []struct {
		schema, want string
		bias         map[int]float64
		finish       Finish
	}{
		{`{"const":"abc"}`, `"abc"`, map[int]float64{tokenOf(' '): -100}, FinishEOS},
		{`{"type":"integer"}`, "7", map[int]float64{tokenOf('7'): 50, 49: 100}, FinishEOS},
		{`{"type":"string"}`, `"zzzz`, map[int]float64{tokenOf('z'): 100, tokenOf(' '): -100}, FinishLength},
		{`{"type":"array","items":{"type":"integer"}}`, `[]`, map[int]float64{tokenOf('['): 100, tokenOf(']'): 100}, FinishEOS},
	} {
		result := submit(t, e, Request{Prompt: []int{1, 2, 3}, MaxTokens: 5, Grammar: grammarOf(t, m, c.schema), Rules: generate.LogitRules{Bias: c.bias}})
		for step(t, e) {
		}
		got := ""
		for _, token := range ids(t, result) {
			got += textOf(token)
		}
		if got != c.want || result.Finish() != c.finish {
			t.Errorf("%s: want %s, %s, got %s, %s", c.schema, c.want, c.finish, got, result.Finish())
		}
	}
	for _, r := range []Request{{IgnoreEOS: true}, {Rules: generate.LogitRules{MinTokens: 1}}} {
		r.Prompt, r.MaxTokens, r.Grammar = []int{1}, 5, grammarOf(t, m, `{}`)
		if _, err := e.Submit(r); err == nil {
			t.Errorf("%+v: want an error", r)
		}
	}
}

// A request whose grammar has too many alternatives ends with an error, and no other one does.
func TestGrammarTooComplex(t *testing.T) {
	m := heterogeneousModel(t)
	e := newEngine(t, m, Options{MaxBatch: 2})
	again := `{"type":"array","items":{"$ref":"#/$defs/r"}}`
	schema := `{"$ref":"#/$defs/r","$defs":{"r":{"anyOf":[` + strings.Repeat(again+",", 3) + again + `]}}}`
	bad := submit(t, e, Request{Prompt: []int{1, 2}, MaxTokens: 60, Grammar: grammarOf(t, m, schema), Rules: generate.LogitRules{Bias: map[int]float64{tokenOf('['): 100}}})
	neighbour := Request{Prompt: []int{1, 2, 3}, MaxTokens: 30, IgnoreEOS: true}
	good := submit(t, e, neighbour)
	for step(t, e) {
	}
	if bad.Finish() != FinishError || bad.err != constrain.ErrTooComplex {
		t.Errorf("want %v, got %s, %v", constrain.ErrTooComplex, bad.Finish(), bad.err)
	}
	if got, want := ids(t, good), alone(t, m, neighbour); !slices.Equal(got, want) {
		t.Errorf("the neighbour: want %v, got %v", want, got)
	}
	if s := e.Stats(); s.PagesUsed != 0 {
		t.Errorf("at the end: %+v", s)
	}
}

// Requests with grammars that are hard to follow do not delay others: a step does a limited amount
// of work for them, while the others get a token in every step. Their own tokens are the same as with
// any amount of work, and each of them goes on.
func TestHardGrammarsDelayNoOthers(t *testing.T) {
	m := heterogeneousModel(t)
	const hard = `{"type":"string","pattern":"^(a?b?){150}$"}` // a text is at hundreds of places in it
	request := func(seed int) Request {
		return Request{Prompt: []int{1, 2, seed}, MaxTokens: 12, Sampling: device.SamplingParams{Temperature: 1, Seed: uint64(seed)},
			Grammar: grammarOf(t, m, hard), Rules: generate.LogitRules{Bias: map[int]float64{tokenOf('a'): 50, tokenOf('b'): 50}}}
	}
	neighbour := Request{Prompt: []int{1, 2, 3}, MaxTokens: 400, IgnoreEOS: true}
	want := alone(t, m, neighbour)
	unlimited := newEngine(t, m, Options{MaxBatch: 4})
	unlimited.maskWork = 1 << 40
	e := newEngine(t, m, Options{MaxBatch: 4})
	e.maskWork = 30000
	good := submit(t, e, neighbour)
	var bad, free []*Result
	for seed := range 3 {
		bad, free = append(bad, submit(t, e, request(seed+1))), append(free, submit(t, unlimited, request(seed+1)))
	}
	for step(t, unlimited) {
	}
	most, steps, last := 0, 0, 0
	for ; good.Finish() == ""; steps++ {
		step(t, e)
		if got := len(good.tokens); got != steps+1 {
			t.Fatalf("step %d: want a token of the neighbour in every step, got %d", steps, got)
		}
		// Each of three may exceed its share by one transition of the automaton.
		if e.masked > e.maskWork+3*4*5*512 {
			t.Fatalf("step %d: %d work for masks, the limit is %d", steps, e.masked, e.maskWork)
		}
		if most = max(most, e.masked); bad[2].Finish() == "" {
			last = steps
		}
	}
	if most < e.maskWork/2 {
		t.Errorf("want grammars that are hard to follow, got at most %d work in a step", most)
	}
	if got := ids(t, good); !slices.Equal(got, want) {
		t.Errorf("the neighbour: want %v, got %v", want, got)
	}
	if last < 40 {
		t.Errorf("want grammars that take many steps, the last one ended after %d", last)
	}
	for step(t, e) {
	}
	for i := range bad {
		if got, want := ids(t, bad[i]), ids(t, free[i]); !slices.Equal(got, want) || len(got) != 12 {
			t.Errorf("request %d: want %v, got %v, %v", i, want, got, bad[i].err)
		}
	}
	if s := e.Stats(); s.PagesUsed != 0 || s.Running != 0 {
		t.Errorf("at the end: %+v", s)
	}
}
