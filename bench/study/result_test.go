package study

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/bench/demo"
	"mop/bench/latency"
	"mop/bench/tasks/zeroshot"
	"mop/internal/journal"
	"mop/prune/plan"
	"mop/runtime/config"
	"mop/runtime/metric"
)

// rows are a dense model and models of two rows, of figures that are chosen by hand.
func rows() *Result {
	entry := func(row string, target, params, ppl, accuracy, share float64) Entry {
		q := &Quality{Perplexity: &metric.PerplexityResult{PPL: ppl}, KL: &metric.KLResult{Mean: math.Log(ppl / 5)}, Average: &zeroshot.Average{Acc: accuracy, Norm: accuracy},
			Tasks: map[string]zeroshot.Figures{"piqa": {N: 4, Acc: accuracy}}, Answers: map[string]Answers{"piqa": {"1100", "1100"}}}
		return Entry{Row: row, Flags: "--method=" + row, Target: target, Params: Stat{Mean: params}, Compression: Stat{Mean: target},
			Models: []ModelResult{{Before: q}}, Before: summary([]*Quality{q}), Latency: &LatencyResult{Share: share, E2E: 100 * share}}
	}
	r := &Result{Model: "m", Text: "text", Tasks: []string{"piqa"}, Rows: []Entry{
		entry("dense", 0, 100, 5, 0.9, 1), entry("a", 0.2, 80, 8, 0.6, 0.7), entry("b", 0.2, 80, 9, 0.7, 0.8), entry("a", 0.4, 60, 12, 0.5, 0.9)}}
	r.markFronts()
	r.comparePairs()
	return r
}

func TestFronts(t *testing.T) {
	r := rows()
	on := func(i int, name string) bool { return slices.Contains(r.Rows[i].Fronts, name) }
	for _, c := range []struct {
		entry int
		front string
		want  bool
	}{
		{0, "ppl/params", false}, // the dense model is on none
		{1, "ppl/params", true},
		{2, "ppl/params", false}, // as large as a, and worse
		{3, "ppl/params", true},
		{2, "accuracy/params", true},
		{1, "accuracy/params", false}, // as large as b, and worse
		{1, "ppl/latency", true},
		{3, "ppl/latency", false}, // slower than a, and worse
		{1, "kl/latency", true},
		{2, "kl/params", false},
		{1, "ppl/params recovered", false},
	} {
		if got := on(c.entry, c.front); got != c.want {
			t.Errorf("%s on %s: want %v, got %v", r.Rows[c.entry].Row, c.front, c.want, got)
		}
	}
}

func TestPairs(t *testing.T) {
	r := rows()
	if len(r.Pairs) != 1 {
		t.Fatalf("want a pair at 0.2 and none at 0.4, where there is no other row, got %+v", r.Pairs)
	}
	if p := r.Pairs[0]; p.Row != "a" || p.Other != "b" || math.Abs(*p.PPL-8.0/9) > 1e-12 || math.Abs(*p.KL-math.Log(1.6)/math.Log(1.8)) > 1e-12 || *p.Average != 0 || *p.Stderr != 0 {
		t.Errorf("got %+v", p)
	}
	// Differences of one task: 1, 0, 0, -1, mean 0 and variance 2/3; of the other: 1, 1, 0, 0,
	// mean 1/2 and variance 1/3. Each has 4 questions.
	a := map[string]Answers{"x": {Norm: "1010"}, "y": {Norm: "1110"}}
	b := map[string]Answers{"x": {Norm: "0011"}, "y": {Norm: "0010"}}
	mean, stderr, ok := pairedDifference(a, b)
	if want := math.Sqrt(2.0/3/4+1.0/3/4) / 2; !ok || mean != 0.25 || math.Abs(stderr-want) > 1e-12 {
		t.Errorf("want 0.25 ± %v, got %v ± %v, %v", want, mean, stderr, ok)
	}
	if _, _, ok := pairedDifference(a, map[string]Answers{"x": {Norm: "00"}}); ok {
		t.Error("other questions: want no difference")
	}
}

// A plan says what its model was to reach: a compression, a share of the latency or of the bytes.
func TestGoals(t *testing.T) {
	for _, c := range []struct {
		settings    map[string]any
		target      float64
		compression float64
		want        goal
	}{
		{nil, 0.2, 0.21, goal{Target: 0.2}},
		{nil, 0.7, 0.3, goal{}}, // of a plan that does not say it
		{map[string]any{"objective": "latency", "target": 0.6}, 0.6, 0.58, goal{LatencyTarget: 0.6}},
		{map[string]any{"objective": "bytes", "target": 0.8}, 0.8, 0.2, goal{Target: 0.2}},
		{map[string]any{"target": "share of the dense model's latency"}, 0.5, 0.52, goal{LatencyTarget: 0.5}},
	} {
		if got := goalOf(&plan.Plan{Settings: c.settings, Target: c.target}, c.compression); got != c.want {
			t.Errorf("%v, %v: want %+v, got %+v", c.settings, c.target, c.want, got)
		}
	}
}

// Models of one name and one share of the latency are one entry with error bars, rows of equal
// shares are compared, and the fronts are over the means.
func TestSeedsOfASearch(t *testing.T) {
	s := &study{Options: Options{Rows: []Row{{Name: "search"}, {Name: "mop"}}, Latency: true}, cells: &journal.Journal[cell]{}}
	l := &latencyCell{Shapes: []string{"d"}, Rows: []latency.Row{{E2E: latency.Spread{Median: 100}}}}
	add := func(row string, share float64, seed uint64, id string, ppl, ms float64) {
		s.models = append(s.models, instance{row, "finished models", goal{LatencyTarget: share}, seed, Description{ID: id, Shape: id, Params: 50, Compression: 0.5}})
		s.cells.Records = append(s.cells.Records, cell{Quality: &qualityCell{ID: id, Quality: Quality{Perplexity: &metric.PerplexityResult{PPL: ppl}}}})
		lo := 1.0
		l.Shapes, l.Rows = append(l.Shapes, id), append(l.Rows, latency.Row{E2E: latency.Spread{Median: ms}, Speedup: latency.Ratio{Median: 100 / ms, Lo: &lo, Hi: &lo}})
	}
	add("search", 0.7, 1, "a", 10, 68)
	add("search", 0.7, 2, "b", 12, 70)
	add("search", 0.7, 3, "c", 14, 72)
	add("search", 0.6, 1, "e", 20, 60)
	add("mop", 0.7, 0, "f", 30, 70)
	s.dense = Description{ID: "d", Shape: "d", Params: 100}
	s.cells.Records = append(s.cells.Records, cell{Latency: l}, cell{Quality: &qualityCell{ID: "d", Quality: Quality{Perplexity: &metric.PerplexityResult{PPL: 5}}}})
	r := s.result()
	if len(r.Rows) != 4 {
		t.Fatalf("want the dense model and three entries, got %+v", r.Rows)
	}
	e := r.Rows[1]
	if len(e.Models) != 3 || e.Label != "search, 70 % of the latency" || e.Before.PPL.Mean != 12 || *e.Before.PPL.SD != 2 {
		t.Errorf("want three seeds with a mean of 12 ± 2, got %+v", e)
	}
	if x := e.Latency; math.Abs(x.Share-0.7) > 1e-12 || x.ShareSD == nil || math.Abs(*x.ShareSD-0.02) > 1e-12 || x.Speedup.Lo != nil {
		t.Errorf("want 0.70 ± 0.02 of the latency, got %+v", x)
	}
	if r.Rows[2].Latency.ShareSD != nil || r.Rows[2].Latency.Speedup.Lo == nil {
		t.Errorf("one model: want the interval of its own measurement, got %+v", r.Rows[2].Latency)
	}
	for i, want := range []bool{true, true, false} {
		if got := slices.Contains(r.Rows[i+1].Fronts, "ppl/latency"); got != want {
			t.Errorf("%s: want it on the front %v, got %v", r.Rows[i+1].Label, want, got)
		}
	}
	if len(r.Pairs) != 1 || r.Pairs[0].LatencyTarget != 0.7 || r.Pairs[0].Other != "mop" || *r.Pairs[0].PPL != 0.4 {
		t.Errorf("want the rows compared at 0.7 of the latency, got %+v", r.Pairs)
	}
	if md := r.Markdown(); !strings.Contains(md, "search, 70 % of the latency") || !strings.Contains(md, "12.00 ± 2.000") || !strings.Contains(md, "70.0 ± 2.0") || !strings.Contains(md, "- 70 % of the latency, as pruned, search against mop") {
		t.Errorf("got %s", md)
	}
}

// Names and flags that look like HTML or Markdown break neither.
func TestNamesAreEscaped(t *testing.T) {
	r := rows()
	const evil = "a|b</script><script>x"
	r.Rows[1].Row, r.Rows[1].Flags = evil, evil
	html, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(html), evil) || strings.Count(string(html), "</script>") != 2 {
		t.Error("report.html: a row's name is not escaped")
	}
	if md := r.Markdown(); !strings.Contains(md, `| a\|b</script>`) {
		t.Errorf("report.md: a row's name is not escaped: %s", md)
	}
	if strings.Contains(string(html), "Answers") || strings.Contains(string(html), `"answers"`) {
		t.Error("report.html holds single answers")
	}
}

// A study that another program continued names both commits.
func TestCommits(t *testing.T) {
	s := &study{cells: &journal.Journal[cell]{Records: []cell{{Commit: "a"}, {Commit: "b-dirty"}, {Commit: "a"}}}}
	if got := s.commits(); got != "a, b-dirty" {
		t.Errorf("want both commits once, got %q", got)
	}
}

func TestColumnsThatNothingFills(t *testing.T) {
	r := rows()
	md := r.Markdown()
	if strings.Contains(md, "recovered:") || !strings.Contains(md, "speed-up") {
		t.Errorf("want no columns of a recovery, and those of latency, got %s", md)
	}
	for i := range r.Rows {
		r.Rows[i].Latency = nil
	}
	if md := r.mainTable(); strings.Contains(md, "speed-up") {
		t.Errorf("want no columns of latency, got %s", md)
	}
	lines := strings.Split(strings.TrimSpace(string(r.CSV())), "\n")
	for _, line := range lines {
		if n := strings.Count(line, ","); n != strings.Count(lines[0], ",") {
			t.Errorf("csv: want lines of one length, got %q", line)
		}
	}
}

// A finished model that is alone with its goal stands for every seed of the study, and models of
// one goal have the seeds of their plans.
func TestSeedsOfFinishedModels(t *testing.T) {
	dir := t.TempDir()
	model, _, err := demo.Unpack(filepath.Join(dir, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(filepath.Join(model, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	state := plan.New(c)
	finished := func(name string, target float64, seed uint64) string {
		p := plan.NewPlan(c, plan.Options{Rule: "mlp-only", RoundTo: 1, HeadsMultiple: 1, Allocation: plan.Uniform})
		p.Add(c, state, plan.Width, "", nil)
		p.Settings, p.Target, p.Seed, p.Step, p.Layers = map[string]any{"objective": "latency", "target": target}, target, seed, 1, state.Layers
		out := filepath.Join(dir, name)
		if err := os.CopyFS(out, os.DirFS(model)); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(out, "plan.json"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := p.Write(f); err != nil {
			t.Fatal(err)
		}
		return out
	}
	row := Row{Name: "found", Models: []string{finished("a", 0.7, 1), finished("b", 0.7, 2), finished("c", 0.6, 1), model}}
	s := &study{Options: Options{Rows: []Row{row}, Seed: 5, Seeds: 3}}
	if s.dense, err = describe(model, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	type have struct {
		share float64
		seed  uint64
	}
	var got []have
	for _, m := range s.models {
		got = append(got, have{m.LatencyTarget, m.Seed})
	}
	if want := []have{{0.7, 1}, {0.7, 2}, {0.6, 5}, {0.6, 6}, {0.6, 7}, {0, 5}}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}
