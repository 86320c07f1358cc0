package main

import (
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mop/bench/compare"
	"mop/bench/latency"
	"mop/bench/report"
	"mop/runtime/open"
	"mop/runtime/vision"
)

// sampleLine is a run in the format jsonl; its kind tells it from the models' rows.
type sampleLine struct {
	Kind string `json:"kind"` // "sample"
	latency.Sample
}

func benchCommand(o *options) *cobra.Command {
	var planFiles []string
	var format, dir, image, traceFile string
	at := intsFlag{min: 1, want: "steps from 1"}
	b := compare.Options{Protocol: latency.Default(), Limit: 5 * time.Minute}
	c := &cobra.Command{
		Use:   "bench DIR|preset:NAME[,...]",
		Short: "Measure end-to-end latency of models that take turns",
		Long: "Measure end-to-end latency. The first model is the dense one, with which the others are\n" +
			"compared. All models take turns in one process, in a new order every round. The defaults\n" +
			"are the paper's protocol: 12 tokens in, 128 out, 20 runs of which the first 10 are discarded.\n" +
			"A path with commas that exists is one model; else write \\, for a comma in a name.",
		Example: "  mop bench ./model,./pruned/0.20,./pruned/0.40\n  mop bench preset:tinyllama-1.1b --plan plan.json --at 7,11 --format json\n" +
			"  mop bench ./model,./pruned/0.40 --report ./report",
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			b.Protocol.Seed, b.From, b.Weights, b.Kernels = o.seed, o.from, o.weights, o.kernels
			names := compare.SplitNames(strings.Join(args, ","))
			if err := checkBench(b, format, names, planFiles, at.values, o.from.DType); err != nil {
				return err
			}
			if image != "" {
				if b.Protocol.Batch != 1 {
					return usage("bench: --image needs --batch 1, got %d", b.Protocol.Batch)
				}
				var err error
				if b.Image, err = vision.ReadPicture(image); err != nil {
					return err
				}
			}
			models, err := modelsUnderTest(names, planFiles, at.values, o.from)
			if err != nil {
				return err
			}
			if dir != "" { // before the measurements, which a wrong directory would lose
				if err := report.CheckDirectory(dir, names...); err != nil {
					return err
				}
				if err := os.MkdirAll(dir, 0o777); err != nil {
					return err
				}
			}
			if format == "jsonl" { // at once, so that an interrupted measurement is not lost
				lines := json.NewEncoder(c.OutOrStdout())
				lines.SetEscapeHTML(false)
				b.Sample = func(s latency.Sample) error { return lines.Encode(sampleLine{"sample", s}) }
			}
			dev, err := o.open()
			if err != nil {
				return err
			}
			defer dev.Close()
			if err := checkTracer(dev, traceFile); err != nil {
				return err
			}
			trace, closeTrace, err := createTrace(traceFile)
			if err != nil {
				return err
			}
			defer closeTrace()
			b.Trace = trace
			bar := newBars(c.ErrOrStderr())
			b.Progress = bar.showOnTerminal
			entries, samples, err := compare.Run(c.Context(), dev, models, b)
			bar.end()
			if err != nil {
				return err
			}
			if dir != "" {
				if err := report.WriteDirectory(dir, report.Report{Command: "mop " + strings.Join(os.Args[1:], " "), Entries: entries, Samples: samples}); err != nil {
					return err
				}
			}
			return report.Write(c.OutOrStdout(), format, entries)
		},
	}
	c.AddCommand(benchTrainingCommand(o), benchServeCommand(o))
	o.generateFlags(c)
	o.dtypeFlag(c)
	f := c.Flags()
	f.StringArrayVar(&planFiles, "plan", nil, "measure the base model and the shapes of a plan, with random weights; may be given several times")
	f.Var(&at, "at", "steps of the plan, with commas between them; default: those that its targets took")
	p := &b.Protocol
	f.IntVar(&p.In, "in", p.In, "prompt tokens")
	f.IntVar(&p.Out, "out", p.Out, "tokens to generate")
	f.IntVar(&p.Batch, "batch", p.Batch, "sequences that run together")
	f.IntVar(&p.Runs, "runs", p.Runs, "rounds")
	f.IntVar(&p.Discard, "discard", p.Discard, "rounds at the start that do not count")
	turnsFlag(f, p)
	f.Float64Var(&b.Precision, "precision", 0, "measure more rounds until every speed-up's interval is at most this wide, as a share of the speed-up; 0 = no more rounds")
	f.DurationVar(&b.Limit, "limit", b.Limit, "time after which --precision adds no more rounds")
	f.StringVar(&format, "format", "md", strings.Join(report.Formats(), ", ")+"; jsonl has a line of kind sample after every run, and the models' rows at the end")
	f.StringVar(&image, "image", "", "put this picture into every prompt, beside the --in tokens, and divide the time to the first token into preprocessing, vision, projection and prefill (LLaVA only)")
	traceFlag(f, &traceFile, "a short run")
	f.StringVar(&dir, "report", "", "write a directory with tables, raw samples and plots")
	return c
}

// turnsFlag adds the flag of what models take turns by.
func turnsFlag(f *pflag.FlagSet, p *latency.Protocol) {
	f.StringVar(&p.Turns, "turns", cmp.Or(p.Turns, latency.TurnsRuns), "what the models of a round take turns by: runs, as in the paper; or steps, by single passes, whose ratios repeat better on a machine that others slow down")
}

func checkBench(b compare.Options, format string, names, planFiles []string, at []int, dtype string) error {
	if err := report.CheckFormat(format); err != nil {
		return usage("%v", err)
	}
	if !(b.Precision >= 0) || b.Limit < 0 {
		return usage("--precision and --limit: want 0 or more, got %v and %v", b.Precision, b.Limit)
	}
	if err := b.Protocol.Validate(); err != nil {
		return usage("%v", err)
	}
	if slices.Contains(names, "") {
		return usage("bench: want names with commas between them, got %q", strings.Join(names, ","))
	}
	if dtype != "" && len(planFiles) == 0 && !slices.ContainsFunc(names, open.IsPreset) {
		return usage("bench: --dtype is of random weights: it needs a preset:NAME or a --plan")
	}
	if len(at) > 0 && len(planFiles) == 0 {
		return usage("bench: --at needs a --plan")
	}
	if len(planFiles) > 0 && len(names) != 1 {
		return usage("bench: --plan needs one base model, got %d", len(names))
	}
	return nil
}

// modelsUnderTest are the named models, or a base model and the shapes of plans.
func modelsUnderTest(names, planFiles []string, at []int, from open.SourceOptions) ([]compare.Model, error) {
	if len(planFiles) > 0 {
		return compare.Paths(names[0], planFiles, at, from)
	}
	var models []compare.Model
	for _, n := range names {
		models = append(models, compare.Checkpoint(n, n, from))
	}
	return models, nil
}
