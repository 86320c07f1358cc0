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

// After a depth step, passes begin where those of the model before it were the same:
// scores and AMP scores are those of whole passes, to the bit. After a width step
// nothing is left to begin with.
func TestBeginnings(t *testing.T) {
	o := small(t, t.TempDir())
	src, err := checkpoint.Open(o.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	r := &run{Options: o, base: src}
	if r.texts, err = readTexts(o, src.Config()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.work(), 0o777); err != nil {
		t.Fatal(err)
	}
	defer r.prefixes.drop(func(*cachedPrefix) bool { return true })
	ctx := context.Background()
	base, err := r.loadCandidate(plan.New(src.Config()))
	if err != nil {
		t.Fatal(err)
	}
	reference, err := metric.LiveReference(base.Model, r.texts.windows)
	if err != nil {
		t.Fatal(err)
	}
	state, scores := plan.New(src.Config()), (*plan.Scores)(nil)
	for step := range 4 {
		m, err := r.loadCandidate(state)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range criterion.Scored() {
			want, err1 := criterion.Score(ctx, name, reference, m.Model, r.texts.windows, nil)
			got, err2 := criterion.Score(ctx, name, reference, m.Model, r.texts.windows, r.windowPrefix(state))
			if err1 != nil || err2 != nil || want != got {
				t.Errorf("step %d: %s: want %v, got %v; %v, %v", step, name, want, got, err1, err2)
			}
		}
		want, err := score.AMP(ctx, m.Model, r.texts.prompts, nil)
		if err != nil {
			t.Fatal(err)
		}
		begin, known, leave := r.promptPrefix(state)
		got, err := score.AMPFrom(ctx, m.Model, r.texts.prompts, begin, known, nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("step %d: the AMP scores differ, %v", step, err)
		}
		leave(got)
		scores = got
		m.close()
		if step == 3 {
			break // the next one cuts into what they share
		}
		if state, err = state.PruneDepth(); err != nil {
			t.Fatal(err)
		}
		r.prefixes.settle(state)
	}
	if len(r.prefixes.windows) != 1 || len(r.prefixes.prompts) != 1 {
		t.Fatalf("want one beginning each, got %d and %d", len(r.prefixes.windows), len(r.prefixes.prompts))
	}
	// Of the windows' passes the very first alone was whole.
	if w, p := r.prefixes.windows[0].given, r.prefixes.prompts[0].given; w != (4*4-1)*len(r.texts.windows) || p != 3*len(r.texts.prompts) {
		t.Errorf("begun %d and %d times", w, p)
	}
	if state, err = state.PruneWidth(src.Config().HiddenSize, plan.Options{Rule: "exact"}, 0, scores); err != nil {
		t.Fatal(err)
	}
	r.prefixes.settle(state)
	if len(r.prefixes.windows)+len(r.prefixes.prompts) != 0 {
		t.Error("a width step leaves a beginning")
	}
}
