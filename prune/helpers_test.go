package prune

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"mop/internal/progress"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// tinyModel writes a model of six small layers of random weights, with the demo's
// tokenizer, and returns its directory.
func tinyModel(t *testing.T, seed uint64, change func(*config.Config)) string {
	t.Helper()
	c, err := config.Load(filepath.Join(demoModel, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c.HiddenSize, c.HeadDim, c.MaxPositions = 24, 4, 64
	c.Layers = slices.Repeat([]config.LayerShape{{Heads: 6, KVHeads: 6, HeadDim: 4, Intermediate: 37}}, 6)
	c.Extra = map[string]any{"initializer_range": 0.2}
	if change != nil {
		change(c)
	}
	dir := filepath.Join(t.TempDir(), "model")
	if err := checkpoint.WriteRandom(dir, c, seed, checkpoint.BF16, checkpoint.SaveOptions{Files: checkpoint.SideFiles(demoModel)}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tinyOptions are those of a run on such a model. Half of its parameters are embeddings,
// so that a target of 0.4 removes most of its layers.
func tinyOptions(t *testing.T, model string) Options {
	o := demoOptions(t, filepath.Join(t.TempDir(), "out"))
	o.Model, o.Targets, o.Context, o.Windows = model, []float64{0.1, 0.2, 0.3}, 32, 2
	return o
}

func mustRun(t *testing.T, o Options) []*plan.Plan {
	t.Helper()
	plans, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return plans
}

// passes counts the progress updates of a run, which come from passes of a model.
func passes(o *Options) *int {
	n := new(int)
	o.Progress = func(progress.Update) { *n++ }
	return n
}

// models returns the files of a tree that are in targets' directories.
func models(all map[string]string) map[string]string {
	out := map[string]string{}
	for name, data := range all {
		if dir, _, ok := cutDir(name); ok && dir[0] == '0' {
			out[name] = data
		}
	}
	return out
}

func cutDir(name string) (dir, rest string, ok bool) {
	dir, rest = filepath.Split(name)
	return dir, rest, dir != ""
}
