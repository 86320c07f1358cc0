package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mop/bench/compare"
	"mop/bench/trace"
	"mop/bench/training"
	"mop/prune/finetune"
)

func benchTrainingCommand(o *options) *cobra.Command {
	p := finetune.Defaults()
	var planFile, lengths, format, traceFile string
	at := intsFlag{min: 1, want: "steps from 1"}
	steps := 4
	c := &cobra.Command{
		Use:   "training DIR|preset:NAME",
		Short: "Measure the speed of training adapters",
		Long: "Measure steps of mop recover on random tokens: tokens per second, TFLOP/s, memory, and how\n" +
			"long the recipe of MoP's released runs takes at that speed.",
		Example: "  mop bench training ./pruned/0.40 --lengths 512\n  mop bench training preset:llama-2-7b --plan plan.json --at 15 --lengths alpaca --device cuda",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if format != "md" && format != "jsonl" {
				return usage("--format: want md or jsonl, got %q", format)
			}
			if len(at.values) > 0 && planFile == "" {
				return usage("bench training: --at needs a --plan")
			}
			if p.Seed = o.seed; steps < 1 {
				return usage("--steps: want at least 1, got %d", steps)
			}
			if err := p.Check(); err != nil {
				return usage("%v", err)
			}
			examples, err := training.Lengths(lengths, steps*p.Batch)
			if errors.Is(err, training.ErrLengths) {
				return usage("--lengths: %v", err)
			}
			if err != nil {
				return err
			}
			models := []compare.Model{compare.Checkpoint(args[0], args[0], o.from)}
			if planFile != "" {
				if models, err = compare.Paths(args[0], []string{planFile}, at.values, o.from); err != nil {
					return err
				}
				models = models[1:] // the base is only needed for its shapes
			}
			if err := checkTrainingTracer(o, traceFile); err != nil {
				return err
			}
			trace, closeTrace, err := createTrace(traceFile)
			if err != nil {
				return err
			}
			defer closeTrace()
			out := json.NewEncoder(c.OutOrStdout())
			var rows []*training.Row
			for _, x := range models {
				r, err := trainingRow(c.Context(), o, x, p, examples, trace)
				if err != nil {
					return fmt.Errorf("%s: %w", x.Name, err)
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
			return training.Markdown(c.OutOrStdout(), rows)
		},
	}
	o.dtypeFlag(c)
	f := c.Flags()
	f.StringVar(&planFile, "plan", "", "measure the shapes of a plan, with random weights")
	f.Var(&at, "at", "steps of the plan, with commas between them; default: those that its targets took")
	f.StringVar(&lengths, "lengths", "512", "tokens of every example; or alpaca: the lengths of 999 real rows, in their order")
	f.IntVar(&steps, "steps", steps, "steps that are timed, after one that is not")
	f.IntVar(&p.Batch, "batch", p.Batch, "examples in a step")
	f.IntVar(&p.PassTokens, "pass-tokens", 0, "put several examples into one pass, up to so many tokens; 0 = what keeps the device busy, 1 = one example")
	f.IntVar(&p.Rank, "rank", p.Rank, "rank of the adapters")
	f.Float64Var(&p.Dropout, "dropout", p.Dropout, "dropout probability of an adapter's input")
	f.BoolVar(&p.Recompute, "recompute", false, "save memory: compute each layer's activations again for its gradients")
	traceFlag(f, &traceFile, "one more step")
	f.StringVar(&format, "format", "md", "md or jsonl")
	return c
}

// checkTrainingTracer refuses --trace before its file is written.
func checkTrainingTracer(o *options, file string) error {
	if file == "" {
		return nil
	}
	dev, err := o.openTrainer()
	if err != nil {
		return err
	}
	defer dev.Close()
	return checkTracer(dev, file)
}

// trainingRow measures one model on a device that it opens and closes, so that each
// model's peak memory is its own.
func trainingRow(ctx context.Context, o *options, x compare.Model, p finetune.Options, lengths []training.Length, traced func(trace.Pass) error) (*training.Row, error) {
	dev, err := o.openTrainer()
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	return training.Run(ctx, dev, x, o.from, p, lengths, traced)
}
