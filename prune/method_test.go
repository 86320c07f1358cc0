package prune

import (
	"context"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/progress"
	"mop/internal/testutil"
	"mop/prune/method"
	"mop/prune/plan"
	"mop/runtime/config"
)

// methodOptions are those of a run of a method, with no option that it does not use.
func methodOptions(t *testing.T, model string, m method.Method) Options {
	o := tinyOptions(t, model)
	o.Method, o.Seed, o.Targets = m.Name(), 3, []float64{0.1, 0.2, 0.25}
	if !m.Uses().Criterion {
		o.Criterion = ""
	}
	return o
}

// Every method of the table ends in a model near each target with a plan that makes the
// same model again, for models with and without grouped-query attention, and for one with
// a layer without heads and one without neurons.
func TestEveryMethod(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"mha": nil,
		"gqa": func(c *config.Config) {
			for l := range c.Layers {
				c.Layers[l].KVHeads = 3
			}
		},
		"missing blocks": func(c *config.Config) {
			c.Layers[1].Heads, c.Layers[1].KVHeads = 0, 0
			c.Layers[2].Intermediate = 0
		},
	} {
		model := tinyModel(t, 1, change)
		for _, m := range method.All()[1:] { // mop has tests of its own
			t.Run(m.Name()+" "+name, func(t *testing.T) {
				o := methodOptions(t, model, m)
				plans := mustRun(t, o)
				_, oneShot := m.(method.OneShot)
				var paths []string
				for i, p := range plans {
					s := p.TargetStep()
					tolerance := 0.05 // half a step
					if oneShot {
						tolerance = 0.01
						if y := p.Base.Shapes[2]; y.Intermediate == 0 { // it can only lose whole KV heads
							kvHead := (2*y.Heads/y.KVHeads + 2) * y.HeadDim * p.Base.HiddenSize
							tolerance += float64(kvHead) / float64(p.Base.Params)
						}
					}
					if off := math.Abs(s.Compression - o.Targets[i]); off > tolerance {
						t.Errorf("target %v: got %v", o.Targets[i], s.Compression)
					}
					if oneShot && (len(p.Steps) != 1 || s.Kind != plan.Width || s.Forced != "") {
						t.Errorf("want one width step, got %+v", p.Steps)
					}
					paths = append(paths, filepath.Join(TargetDir(o.Out, o.Targets[i]), planFile))
					text, err := os.ReadFile(filepath.Join(TargetDir(o.Out, o.Targets[i]), "README.md"))
					if want := "Method " + m.Name(); err != nil || !strings.Contains(string(text), want) {
						t.Errorf("want %q in the model card, got %v\n%s", want, err, text)
					}
				}
				again := filepath.Join(t.TempDir(), "again")
				if _, err := Replay(t.Context(), ReplayOptions{Plans: paths, Model: model, Out: again}); err != nil {
					t.Fatal(err)
				}
				want, got := models(testutil.ReadTree(t, o.Out)), models(testutil.ReadTree(t, again))
				if !maps.Equal(want, got) {
					t.Error("want the replay to make the same files")
				}
			})
		}
	}
}

// A run of any method that is stopped at every phase, one after another, ends in the same
// bytes as one that is not stopped.
func TestEveryMethodResumes(t *testing.T) {
	model := tinyModel(t, 1, nil)
	for _, m := range method.All()[1:] { // TestResumeGivesTheSameBytes is that of mop
		straight := methodOptions(t, model, m)
		mustRun(t, straight)
		stopped := methodOptions(t, model, m)
		stopped.Resume = true
		for n := 1; ; n++ { // attempt n is stopped after n progress updates
			ctx, cancel := context.WithCancel(t.Context())
			updates := 0
			stopped.Progress = func(progress.Update) {
				if updates++; updates == n {
					cancel()
				}
			}
			_, err := Run(ctx, stopped)
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: want a stop, got %v", m.Name(), err)
			}
		}
		want, got := models(testutil.ReadTree(t, straight.Out)), models(testutil.ReadTree(t, stopped.Out))
		if !maps.Equal(want, got) {
			t.Errorf("%s: want the same files", m.Name())
		}
	}
}

// A method refuses the options that it does not use, and names both.
func TestMethodsRefuse(t *testing.T) {
	model := tinyModel(t, 1, nil)
	for _, x := range []struct {
		method string
		change func(*Options)
		says   string
	}{
		{"vibes", func(o *Options) {}, `want one of mop, depth, width,`},
		{"depth", func(o *Options) { o.Criterion = "kl" }, "method depth: takes no criterion"},
		{"width", func(o *Options) { o.Sequence = "LG" }, "method width: takes no sequence"},
		{"magnitude", func(o *Options) { o.NeuronScore = "amp" }, "method magnitude: takes no score"},
		{"depth", func(o *Options) { o.Width.Rule = "exact" }, "method depth: takes no rule"},
		{"depth", func(o *Options) { o.Width.RoundTo = 8 }, "method depth: takes no sizes in multiples"},
		{"depth", func(o *Options) { o.Width.Allocation = "global" }, "method depth: takes no allocation"},
		{"depth", func(o *Options) { o.ExactTarget = true }, "method depth: takes no exact target"},
		{"depth", func(o *Options) { o.Refit = true }, "method depth: takes no refit"},
		{"sleb", func(o *Options) { o.Text = "" }, "text: want a file: method sleb"},
		{"shortgpt", func(o *Options) { o.Calibration = "" }, "calibration: want a file of text: method shortgpt"},
		{"sleb", func(o *Options) { o.ExactTarget = true }, "method sleb: takes no exact target"},
		{"shortgpt", func(o *Options) { o.Refit = true }, "method shortgpt: takes no refit"},
		{"flap", func(o *Options) { o.Width.Rule = "paper" }, "method flap: takes no rule"},
		{"flap", func(o *Options) { o.Width.HeadsMultiple = 2 }, "method flap: takes no sizes in multiples"},
		{"shortgpt", func(o *Options) { o.TargetLatency = true }, "method shortgpt: takes no target latency"},
		{"width", func(o *Options) { o.Recovery.Short = 3 }, "method width scores no candidates"},
		{"width", func(o *Options) { o.Calibration = "" }, "calibration: want a file"},
		{"depth", func(o *Options) { o.Targets = []float64{0.5} }, "beyond reach"},
		{"width", func(o *Options) { o.Targets = []float64{0.7} }, "beyond reach"},
		{"magnitude", func(o *Options) { o.Targets = []float64{0.7} }, "beyond reach"},
	} {
		o := tinyOptions(t, model)
		o.Method, o.Criterion = x.method, ""
		x.change(&o)
		_, err := Run(t.Context(), o)
		testutil.CheckError(t, x.method, err, x.says)
		if _, err := os.Stat(o.Out); err == nil {
			t.Errorf("%s: a refused run wrote", x.method)
		}
	}
}

// The methods that measure nothing need no text.
func TestMethodsWithoutText(t *testing.T) {
	model := tinyModel(t, 1, nil)
	for _, name := range []string{"depth", "magnitude", "random"} {
		m, err := method.ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		o := methodOptions(t, model, m)
		o.Calibration, o.Text = "", ""
		mustRun(t, o)
	}
}

// A run does not continue that of another method.
func TestResumeOfAnotherMethod(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	o.Method, o.Criterion = "magnitude", ""
	mustRun(t, o)
	o.Method, o.Resume = "random", true
	_, err := Run(t.Context(), o)
	testutil.CheckError(t, "another method", err, "its method is")
}
