package prune

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/prune/plan"
	"mop/runtime/config"
)

// Replaying a plan gives the bytes of the run that made it. Plans of another base, and
// plans without indices, are refused.
func TestReplay(t *testing.T) {
	model := tinyModel(t, 1, nil)
	o := tinyOptions(t, model)
	o.ExactTarget, o.HFType, o.Width.Allocation = true, "mistral", "global"
	plans := mustRun(t, o)
	want := models(testutil.ReadTree(t, o.Out))
	if !strings.Contains(want["0.30/config.json"], "llama") {
		t.Fatal("no config of the largest target")
	}
	var files []string
	for _, x := range o.Targets {
		files = append(files, filepath.Join(TargetDir(o.Out, x), planFile))
	}
	again := filepath.Join(t.TempDir(), "again")
	if _, err := Replay(context.Background(), ReplayOptions{Plans: files, Model: model, Out: again}); err != nil {
		t.Fatal(err)
	}
	testutil.CheckSameTree(t, "files", want, testutil.ReadTree(t, again), 1)
	if _, err := Replay(context.Background(), ReplayOptions{Plans: files, Model: model, Out: again}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a second time: want a refusal, got %v", err)
	}
	if _, err := Replay(context.Background(), ReplayOptions{Plans: files, Model: model, Out: again, Resume: true}); err != nil {
		t.Error(err)
	}
	testutil.CheckSameTree(t, "files", want, testutil.ReadTree(t, again), 1)

	dry, err := plan.DryRun(must(config.Load(filepath.Join(model, "config.json"))), plan.Options{}, func(n int) (plan.Kind, bool) { return plan.Depth, n < 2 }, 0)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, edit func(*plan.Plan)) string {
		p, err := plan.Load(files[2])
		if err != nil {
			t.Fatal(err)
		}
		if name == "dry" {
			p = dry
		}
		if edit != nil {
			edit(p)
		}
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name+".json")
		if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wider := tinyModel(t, 1, func(c *config.Config) { c.Layers[3].Intermediate++ })
	torn := filepath.Join(t.TempDir(), "torn.json")
	os.WriteFile(torn, []byte(want["0.30/plan.json"][:900]), 0o666)
	for name, x := range map[string]struct {
		plans []string
		model string
		says  string
	}{
		"other weights":    {files[:1], tinyModel(t, 2, nil), "other weights"},
		"other shapes":     {files[:1], wider, "base: the plan is of a model of"},
		"sizes alone":      {[]string{write("dry", nil)}, model, "sizes alone"},
		"no target":        {[]string{write("untargeted", func(p *plan.Plan) { p.Target = 0 })}, model, "target: absent"},
		"twice":            {[]string{files[0], files[0]}, model, "another plan has the same target"},
		"torn":             {[]string{torn}, model, "torn.json"},
		"indices too high": {[]string{write("high", func(p *plan.Plan) { p.Layers[0].Neurons[len(p.Layers[0].Neurons)-1] = 37 })}, model, "indices below 37"},
		"layers elsewhere": {[]string{write("from", func(p *plan.Plan) { p.Layers[0].From = 3 })}, model, "from"},
		"not a plan":       {[]string{filepath.Join(model, "config.json")}, model, "config.json"},
		"nowhere":          {[]string{"nowhere.json"}, model, "nowhere.json"},
		"no model":         {files[:1], "nowhere", "nowhere"},
	} {
		out := filepath.Join(t.TempDir(), "out")
		_, err := Replay(context.Background(), ReplayOptions{Plans: x.plans, Model: x.model, Out: out})
		testutil.CheckError(t, name, err, x.says)
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a refused replay wrote %s", name, out)
		}
	}
	if _, err := Replay(context.Background(), ReplayOptions{Plans: files, Model: model, Out: filepath.Join(model, "x")}); err == nil {
		t.Error("want a refusal to write into the model")
	}
	if len(plans) != 3 {
		t.Errorf("want 3 plans, got %d", len(plans))
	}
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}
