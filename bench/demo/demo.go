// Package demo shows mop's whole path in about two minutes, without any other files. It
// carries a small trained model and texts that the model was not trained on (corpus/ is
// the program that wrote them). Run prunes that model, evaluates what pruning costs and
// what recovery training gives back, and measures latency on the shape of a released
// model, in which the weights dominate a token's time. It does the same with a model and
// texts that are given to it, and measures the latency of that model.
package demo

import (
	"context"
	"fmt"
	"path/filepath"

	"mop/bench/compare"
	"mop/bench/latency"
	"mop/bench/report"
	"mop/internal/progress"
	"mop/runtime/device"
	"mop/runtime/open"
)

// Protocol is the demo's latency protocol: shorter runs than the paper's.
func Protocol() latency.Protocol {
	return latency.Protocol{In: 12, Out: 32, Batch: 1, Runs: 8, Discard: 2, Turns: latency.TurnsSteps}
}

// Options of a demo.
type Options struct {
	Out      string // directory for models and report; see Clear
	Model    string // directory of the model; "" = the one that the package carries
	Text     string // directory of its texts, with the names of those in text/
	Device   device.Trainer
	Kernels  string // the set that the device was opened with
	Seed     uint64
	Protocol latency.Protocol

	// Progress receives updates of the parts, with the name of the model and a space, or
	// nothing, as their prefix. It may be nil.
	Progress func(prefix string, u progress.Update)
}

func (o Options) progress(prefix string) progress.Func {
	if o.Progress == nil {
		return nil
	}
	return func(u progress.Update) { o.Progress(prefix, u) }
}

// Result is what a demo shows.
type Result struct {
	Quality []report.Quality // of the trained model: dense, then pruned
	Latency []report.Entry   // of the preset along the path, or of the models themselves
	out     string
	recipe  recipe
}

// Run runs the demo and writes its report. Check says whether the result is right.
func Run(ctx context.Context, o Options) (*Result, error) {
	r := &Result{out: o.Out, recipe: realModel()}
	command := fmt.Sprintf("mop demo --model %s --text %s", o.Model, o.Text)
	if o.Model == "" {
		var err error
		if o.Model, o.Text, err = Unpack(o.Out); err != nil {
			return nil, err
		}
		r.recipe, command = carriedModel(), "mop demo"
	}
	if err := r.recipe.prune(ctx, o); err != nil {
		return nil, err
	}
	var err error
	if r.Quality, err = r.recipe.evaluate(ctx, o); err != nil {
		return nil, err
	}
	models, err := r.recipe.models(o)
	if err != nil {
		return nil, err
	}
	var samples []latency.Sample
	if r.Latency, samples, err = compare.Run(ctx, o.Device, models, compare.Options{Protocol: o.Protocol, From: open.SourceOptions{Seed: o.Seed},
		Kernels: o.Kernels, Precision: latencyPrecision, Limit: latencyLimit, Progress: o.progress("")}); err != nil {
		return nil, err
	}
	err = report.WriteDirectory(r.reportDir(), report.Report{Title: "mop demo", Command: command, Entries: r.Latency, Samples: samples, Quality: r.Quality})
	return r, err
}

func label(target float64) string { return fmt.Sprintf("MoP %.0f %%", 100*target) }

func prunedDir(out string) string { return filepath.Join(out, "pruned") }

func recoveredDir(out string) string { return filepath.Join(out, "recovered") }

func (r *Result) reportDir() string { return filepath.Join(r.out, "report") }
