package prune

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"mop/prune/method"
	"mop/prune/plan"
)

// A target that is far from every step gives a warning that names the flag which meets it.
func TestFarTarget(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	mop, err := method.ByName("mop")
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[float64]bool{0.35: false, 0.4: true} {
		log.Reset()
		r := &run{Options: Options{Targets: []float64{target}}, method: mop}
		path := &plan.Plan{Steps: []plan.Step{{Compression: 1. / 3}}}
		if _, err := r.selectTargets(context.Background(), path, make([]plan.State, 2)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "--exact-target meets it") && strings.Contains(log.String(), "compression=0.3333\n"); got != want {
			t.Errorf("target %v: want the warning: %v, got %s", target, want, log.String())
		}
	}
}
