package prune

import (
	"context"
	"os"
	"reflect"
	"testing"

	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/checkpoint"
	"mop/runtime/metric"
)

// After a depth step, passes begin at the cached prefix: the criteria's scores and the
// importance scores have the same bits as those of whole passes. After a width step no
// prefix is left.
func TestPrefixCache(t *testing.T) {
	o := demoOptions(t, t.TempDir())
	src, err := checkpoint.Open(o.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	r := &run{Options: o, base: src}
	if err := r.validateOptions(); err != nil {
		t.Fatal(err)
	}
	if r.inputs, err = r.readInputs(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.workDir(), 0o777); err != nil {
		t.Fatal(err)
	}
	defer r.prefixes.clear()
	ctx := context.Background()
	base, err := r.loadCandidate(plan.New(src.Config()))
	if err != nil {
		t.Fatal(err)
	}
	reference, err := metric.NewLiveReference(base.Model, r.inputs.windows)
	if err != nil {
		t.Fatal(err)
	}
	state, scores := plan.New(src.Config()), (*plan.Scores)(nil)
	for step := range 4 {
		m, err := r.loadCandidate(state)
		if err != nil {
			t.Fatal(err)
		}
		for _, scorer := range criterion.Scorers() {
			x := criterion.Candidate{Model: m.Model, Windows: r.inputs.windows, Reference: reference, LatencyMS: 1, DenseLatencyMS: 2}
			want, err1 := scorer.Score(ctx, x)
			x.Prefixes = r.windowPrefixes(state).at
			got, err2 := scorer.Score(ctx, x)
			if err1 != nil || err2 != nil || want != got {
				t.Errorf("step %d: %s: want %v, got %v; %v, %v", step, scorer.Name(), want, got, err1, err2)
			}
		}
		want, err := score.Measure(ctx, r.score, m.Model, score.Calibration{Prompts: r.inputs.prompts})
		if err != nil {
			t.Fatal(err)
		}
		prefixes := r.promptPrefixes(state)
		got, err := score.Measure(ctx, r.score, m.Model, score.Calibration{Prompts: r.inputs.prompts, Prefixes: prefixes.at, Known: prefixes.scores()})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("step %d: the AMP scores differ, %v", step, err)
		}
		prefixes.setScores(got)
		scores = got
		m.close()
		if step == 3 {
			break // the next step would remove a layer of the prefix
		}
		if state, err = state.PruneDepth(); err != nil {
			t.Fatal(err)
		}
		r.prefixes.keepOnly(state)
	}
	if len(r.prefixes.windows) != 1 || len(r.prefixes.prompts) != 1 {
		t.Fatalf("want one prefix each, got %d and %d", len(r.prefixes.windows), len(r.prefixes.prompts))
	}
	// Only the first pass over each window computed all layers.
	if w, p := r.prefixes.windows[0].reads, r.prefixes.prompts[0].reads; w != (4*len(criterion.Scorers())-1)*len(r.inputs.windows) || p != 3*len(r.inputs.prompts) {
		t.Errorf("read %d and %d times", w, p)
	}
	if state, err = state.PruneWidth(src.Config().HiddenSize, plan.Options{Rule: "exact"}, 0, scores); err != nil {
		t.Fatal(err)
	}
	r.prefixes.keepOnly(state)
	if len(r.prefixes.windows)+len(r.prefixes.prompts) != 0 {
		t.Error("a width step leaves a prefix")
	}
}
