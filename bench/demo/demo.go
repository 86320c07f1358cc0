// Package demo shows mop's whole path in about two minutes, without any other files. It
// carries a small trained model and texts that the model was not trained on (corpus/ is
// the program that wrote them). Run prunes that model, evaluates what pruning costs and
// what recovery training gives back, and measures latency on the shape of a released
// model, in which the weights dominate a token's time.
package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"mop/bench/compare"
	"mop/bench/latency"
	"mop/bench/report"
	"mop/internal/progress"
	"mop/prune"
	"mop/prune/plan"
	"mop/runtime/device"
	"mop/runtime/open"
)

const (
	// latencyPreset is the model whose latency is measured, with random weights: small
	// enough for two minutes, large enough that reading its weights takes most of a
	// token's time. The trained model is too small for that.
	latencyPreset = "preset:smollm2-135m"
	// latencyPath is the path of MoP's first released LLaMA-2 run: L removes a layer, G
	// heads and neurons in every layer.
	latencyPath = "LGGLLLGGLLGLGLLGGL"
	// latencyPrecision is the width of the speed-ups' intervals at which no more rounds are
	// measured, as a share; latencyLimit ends the rounds on a machine that is too busy.
	latencyPrecision = 0.05
	latencyLimit     = 25 * time.Second
)

// targets are the compressions, as shares of all parameters.
func targets() []float64 { return []float64{0.2, 0.3, 0.4} }

// Protocol is the demo's latency protocol: shorter runs than the paper's.
func Protocol() latency.Protocol {
	return latency.Protocol{In: 12, Out: 32, Batch: 1, Runs: 8, Discard: 2}
}

// Options of a demo.
type Options struct {
	Out      string // directory for models and report; see Clear
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
	Latency []report.Entry   // of the preset: dense, then along the path
	out     string
}

// Run runs the demo and writes its report. Check says whether the result is right.
func Run(ctx context.Context, o Options) (*Result, error) {
	model, text, err := Unpack(o.Out)
	if err != nil {
		return nil, err
	}
	r := &Result{out: o.Out}
	if err := pruneModel(ctx, o, model, text); err != nil {
		return nil, err
	}
	if r.Quality, err = evaluate(ctx, o, model, text); err != nil {
		return nil, err
	}
	var samples []latency.Sample
	if r.Latency, samples, err = measure(ctx, o); err != nil {
		return nil, err
	}
	err = report.WriteDirectory(r.reportDir(), report.Report{Title: "mop demo", Command: "mop demo", Entries: r.Latency, Samples: samples, Quality: r.Quality})
	return r, err
}

func pruneModel(ctx context.Context, o Options, model, text string) error {
	_, err := prune.Run(ctx, prune.Options{Model: model, Out: prunedDir(o.Out), Device: o.Device, Targets: targets(),
		Criterion: "kl", Seed: o.Seed, Calibration: filepath.Join(text, "calibration.jsonl"), Prompts: 24,
		Text: filepath.Join(text, "windows.txt"), Separator: Separator, Windows: 8, Context: 128, Progress: o.progress("")})
	return err
}

// measure measures the preset along the path, at the steps nearest to the targets.
func measure(ctx context.Context, o Options) ([]report.Entry, []latency.Sample, error) {
	base, err := open.Config(latencyPreset)
	if err != nil {
		return nil, nil, err
	}
	kinds, err := plan.ParseSequence(latencyPath)
	if err != nil {
		return nil, nil, err
	}
	p, err := plan.DryRun(base, plan.Options{}, plan.Sequence(kinds), 0)
	if err != nil {
		return nil, nil, err
	}
	var steps []int
	for _, t := range targets() {
		steps = append(steps, plan.Nearest(p.Compressions(), t))
	}
	from := open.SourceOptions{Seed: o.Seed}
	models, err := compare.Path(latencyPreset, base, p, steps, from)
	if err != nil {
		return nil, nil, err
	}
	models[0].Name = "dense"
	for i, t := range targets() {
		models[i+1].Name = label(t)
	}
	return compare.Run(ctx, o.Device, models, compare.Options{Protocol: o.Protocol, From: from, Kernels: o.Kernels,
		Precision: latencyPrecision, Limit: latencyLimit, Progress: o.progress("")})
}

func label(target float64) string { return fmt.Sprintf("MoP %.0f %%", 100*target) }

func prunedDir(out string) string { return filepath.Join(out, "pruned") }

func recoveredDir(out string) string { return filepath.Join(out, "recovered") }

func (r *Result) reportDir() string { return filepath.Join(r.out, "report") }
