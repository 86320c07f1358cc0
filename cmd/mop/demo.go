package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"mop/bench/demo"
	"mop/bench/latency"
	"mop/bench/report"
	"mop/prune"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
)

func demoCommand(o *options) *cobra.Command {
	var out string
	p := latency.Default()
	c := &cobra.Command{
		Use:     "demo",
		Short:   "Prune a small trained model to 80, 70 and 60 %, and measure what it brings",
		Long:    "Prune the small model that mop carries by MoP to about 80, 70 and 60 % of its size, measure\nlatency and perplexity of each, train the smallest and the dense one alike, and write a\nreport with plots. Fails unless perplexity rises from dense to 40 %, the speed-up at 40 % is\nabove 1.2 with its whole interval, and training gives back half of what pruning cost.",
		Example: "  mop demo\n  mop demo --out ./demo",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			p.Seed = o.seed
			if err := p.Validate(); err != nil {
				return usage("%v", err)
			}
			if err := clearDemo(out); err != nil {
				return err
			}
			entries, samples, back, err := o.demonstrate(c, p, out)
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			if err := report.Write(w, "md", entries); err != nil {
				return err
			}
			fmt.Fprintln(w, "\nppl: perplexity on held-out stories. A layer of this model is so thin that what it costs besides its\nweights counts, and that does not shrink with them: gain/compression nears 1 as layers grow.")
			if err := back.write(w); err != nil {
				return err
			}
			dir := filepath.Join(out, "report")
			if err := report.WriteDirectory(dir, report.Report{Title: "mop demo", Command: "mop demo", Entries: entries, Samples: samples}); err != nil {
				return err
			}
			fmt.Fprintf(w, "\nreport with plots: %s\nsmaller models:    %s\ntrained ones:      %s\n", dir, filepath.Join(out, "pruned"), filepath.Join(out, "recovered"))
			return judge(entries, back)
		},
	}
	c.Flags().StringVar(&out, "out", "out/demo", "directory for models and report")
	c.Flags().IntVar(&p.Runs, "runs", p.Runs, "rounds")
	c.Flags().IntVar(&p.Discard, "discard", p.Discard, "rounds at the start that do not count")
	return c
}

// demoMark is in every directory that a demo has been in.
const demoMark = ".mop-demo"

// clearDemo makes room for a demo, in which everything is made anew: what an earlier
// one left is removed, what is anybody else's stays.
func clearDemo(out string) error {
	_, err := os.Stat(filepath.Join(out, demoMark))
	mine := err == nil || demo.Unpacked(out)
	for _, name := range []string{"model", "text", "pruned", "recovered", "report"} {
		path := filepath.Join(out, name)
		if _, err := os.Lstat(path); err == nil && !mine {
			return fmt.Errorf("%s: exists, and no demo has been here: give another --out", path)
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, demoMark), nil, 0o666)
}

// demonstrate prunes, measures, evaluates and trains.
func (o *options) demonstrate(c *cobra.Command, p latency.Protocol, out string) (entries []report.Entry, samples []latency.Sample, back recoveryResult, err error) {
	model, text, err := demo.Unpack(out)
	if err != nil {
		return nil, nil, back, err
	}
	dev, err := o.open()
	if err != nil {
		return nil, nil, back, err
	}
	defer dev.Close()
	bar := newBars(c.ErrOrStderr())
	targets := []float64{0.2, 0.3, 0.4}
	_, err = prune.Run(c.Context(), prune.Options{Model: model, Out: filepath.Join(out, "pruned"), Device: dev, Targets: targets,
		Criterion: "kl", Width: plan.Options{}, Seed: o.seed, Calibration: filepath.Join(text, "calibration.jsonl"), Prompts: 24,
		Text: filepath.Join(text, "windows.txt"), Separator: demo.Separator, Windows: 8, Context: 128, Progress: bar.tell})
	bar.end()
	if err != nil {
		return nil, nil, back, err
	}
	list := []modelUnderTest{{name: "dense", series: "MoP", open: func() (checkpoint.Source, error) { return checkpoint.Open(model) }}}
	dirs := []string{model}
	for _, t := range targets {
		dir := prune.TargetDir(filepath.Join(out, "pruned"), t)
		pl, err := plan.Load(filepath.Join(dir, "plan.json"))
		if err != nil {
			return nil, nil, back, err
		}
		x := modelUnderTest{name: fmt.Sprintf("MoP %.0f %%", 100*t), series: "MoP", open: func() (checkpoint.Source, error) { return checkpoint.Open(dir) }}
		for _, l := range pl.Layers {
			x.from = append(x.from, l.From)
		}
		list, dirs = append(list, x), append(dirs, dir)
	}
	entries, samples, err = o.measure(c.Context(), p, list, precision{width: 0.1, limit: demoMeasuring}, nil)
	if err != nil {
		return nil, nil, back, err
	}
	docs, err := dataset.Documents(filepath.Join(text, "evaluation.txt"), demo.Separator)
	if err != nil {
		return nil, nil, back, err
	}
	docs = docs[:min(len(docs), demoStories)]
	for i, dir := range dirs {
		ppl, err := o.perplexity(c.Context(), dir, docs)
		if err != nil {
			return nil, nil, back, err
		}
		entries[i].PPL = &ppl
	}
	train := &trainingBar{w: c.ErrOrStderr()}
	back, err = o.regain(c.Context(), model, dirs[len(dirs)-1], text, filepath.Join(out, "recovered"), docs, train)
	train.end()
	if err != nil {
		return nil, nil, back, err
	}
	back.dense, back.cut = *entries[0].PPL, *entries[len(entries)-1].PPL
	return entries, samples, back, nil
}

// demoStories is how many held-out stories the demo's perplexity is taken on:
// enough to tell the models apart, few enough for two minutes in all.
const demoStories = 40

// demoMeasuring is how long the demo goes on measuring where a busy machine makes
// the intervals wide; an idle one is done long before.
const demoMeasuring = 40 * time.Second

// judge fails unless the demo shows what it is meant to show.
func judge(entries []report.Entry, back recoveryResult) error {
	dense, last := entries[0], entries[len(entries)-1]
	if *last.PPL <= *dense.PPL {
		return fmt.Errorf("perplexity does not rise from dense (%.3f) to 40 %% (%.3f)", *dense.PPL, *last.PPL)
	}
	if last.Speedup.Lo == nil || *last.Speedup.Lo <= 1.2 {
		return fmt.Errorf("the speed-up at 40 %% is not above 1.2 with its whole interval: %.2f", last.Speedup.Median)
	}
	if !(back.share() >= 0.5) {
		return fmt.Errorf("training gives back less than half of what pruning cost: perplexity %.3f cut, %.3f trained, %.3f dense", back.cut, back.cutTrained, back.dense)
	}
	return nil
}
