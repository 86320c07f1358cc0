package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mop/bench/latency"
	"mop/bench/training"
	"mop/prune/finetune"
	"mop/runtime/model"
)

func benchTrainingCommand(o *options) *cobra.Command {
	p := finetune.Defaults()
	var planFile, at, lengths, format string
	steps := 4
	c := &cobra.Command{
		Use:   "training DIR|preset:NAME",
		Short: "Measure the speed of training adapters",
		Long: "Measure steps of mop recover on random ids: tokens a second, TFLOP/s, memory, and how long\n" +
			"the recipe of MoP's released runs takes at that speed.",
		Example: "  mop bench training ./pruned/0.40 --lengths 512\n  mop bench training preset:llama-2-7b --plan plan.json --at 15 --lengths alpaca --device cuda",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if format != "md" && format != "jsonl" {
				return usage("--format: want md or jsonl, got %q", format)
			}
			if _, ok := dtypes()[o.dtype]; !ok && o.dtype != "" {
				return usage("--dtype: want one of bf16, f16, f32, got %q", o.dtype)
			}
			if at != "" && planFile == "" {
				return usage("bench training: --at wants a --plan")
			}
			if p.Seed = o.seed; steps < 1 {
				return usage("--steps: want at least 1, got %d", steps)
			}
			if err := p.Check(); err != nil {
				return usage("%v", err)
			}
			list, err := lengthsOf(lengths, steps*p.Batch)
			if err != nil {
				return err
			}
			var plans []string
			if planFile != "" {
				plans = []string{planFile}
			}
			models, err := o.modelsUnderTest(args[:1], plans, at)
			if err != nil {
				return err
			}
			if planFile != "" {
				models = models[1:] // the base is there for its shapes
			}
			out := json.NewEncoder(c.OutOrStdout())
			var rows []*training.Row
			for _, x := range models {
				r, err := o.measureTraining(c.Context(), x, p, list)
				if err != nil {
					return fmt.Errorf("%s: %w", x.name, err)
				}
				r.Lengths = lengths
				if format == "jsonl" {
					if err := out.Encode(r); err != nil {
						return err
					}
				}
				rows = append(rows, r)
			}
			if format == "jsonl" {
				return nil
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 1, ' ', 0)
			fmt.Fprintln(w, "| model\t| parameters\t| lengths\t| rank\t| steps\t| tokens/s\t| TFLOP/s\t| memory, GB\t| recipe, h\t|\n|---\t|---:\t|---\t|---:\t|---:\t|---:\t|---:\t|---:\t|---:\t|")
			for _, r := range rows {
				memory := "-"
				if r.PeakBytes > 0 {
					memory = fmt.Sprintf("%.2f", float64(r.PeakBytes)/1e9)
				}
				fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %d\t| %d\t| %.5g\t| %.4g\t| %s\t| %.3g\t|\n", r.Model, human(r.Params), r.Lengths, r.Rank, r.Steps, r.TokensPerSecond, r.TFLOPS, memory, r.RecipeHours)
			}
			return w.Flush()
		},
	}
	f := c.Flags()
	f.StringVar(&planFile, "plan", "", "measure a plan's shapes, with random weights")
	f.StringVar(&at, "at", "", "steps of the plan, with commas between; default: those that its targets took")
	f.StringVar(&o.dtype, "dtype", "", "type of random weights: bf16, f16 or f32; default: the preset's own")
	f.StringVar(&lengths, "lengths", "512", "ids of every example, or alpaca for those of 999 real rows, one after the other")
	f.IntVar(&steps, "steps", steps, "steps that are timed, after one that is not")
	f.IntVar(&p.Batch, "batch", p.Batch, "examples of a step")
	f.IntVar(&p.Rank, "rank", p.Rank, "rank of the adapters")
	f.Float64Var(&p.Dropout, "dropout", p.Dropout, "share of an adapter's input that is left out")
	f.BoolVar(&p.Recompute, "recompute", false, "keep less in memory: run each layer again for its gradients")
	f.StringVar(&format, "format", "md", "md or jsonl")
	return c
}

// lengthsOf makes n lengths of what --lengths says.
func lengthsOf(text string, n int) ([]training.Length, error) {
	if text != "alpaca" {
		ids, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || ids < 2 || ids > 1<<20 {
			return nil, usage("--lengths: want 2 to 1048576 ids, or alpaca, got %q", text)
		}
		return training.Same(ids, n), nil
	}
	rows, err := training.Alpaca()
	if err != nil {
		return nil, err
	}
	out := make([]training.Length, n)
	for i := range out {
		out[i] = rows[i%len(rows)]
	}
	return out, nil
}

// measureTraining measures one model on a device of its own.
func (o *options) measureTraining(ctx context.Context, x modelUnderTest, p finetune.Options, lengths []training.Length) (*training.Row, error) {
	dev, err := o.openTrainer()
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	src, err := x.open()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := fits(dev, x.name, o.madeBytes(src)); err != nil {
		return nil, err
	}
	longest := 0
	for _, l := range lengths {
		longest = max(longest, l.Tokens)
	}
	if longest > src.Config().MaxPositions {
		return nil, fmt.Errorf("%d ids: %w of %d", longest, model.ErrContext, src.Config().MaxPositions)
	}
	m, err := model.Load(dev, src)
	if err != nil {
		return nil, err
	}
	r, err := training.Measure(ctx, m, src, p, lengths)
	if err != nil {
		return nil, err
	}
	r.Model, r.Device, r.Commit, r.Date = x.name, dev.Capabilities().Hardware, latency.BuildCommit(), time.Now().UTC()
	return r, nil
}
