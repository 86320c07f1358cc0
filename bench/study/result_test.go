package study

import (
	"math"
	"slices"
	"strings"
	"testing"

	"mop/bench/tasks/zeroshot"
	"mop/internal/journal"
	"mop/runtime/metric"
)

// rows are a dense model and models of two rows, of figures that are chosen by hand.
func rows() *Result {
	entry := func(row string, target, params, ppl, accuracy, share float64) Entry {
		q := &Quality{Perplexity: &metric.PerplexityResult{PPL: ppl}, Average: &zeroshot.Average{Acc: accuracy, Norm: accuracy},
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
	if p := r.Pairs[0]; p.Row != "a" || p.Other != "b" || math.Abs(*p.PPL-8.0/9) > 1e-12 || *p.Average != 0 || *p.Stderr != 0 {
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
