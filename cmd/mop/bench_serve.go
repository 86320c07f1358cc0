package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mop/bench/compare"
	"mop/bench/serving"
	"mop/internal/build"
	"mop/internal/machine"
	"mop/runtime/engine"
)

func benchServeCommand(o *options) *cobra.Command {
	var s serving.Options
	var e engine.Options
	var in, out, rates, format, dir, key, tok string
	concurrency := intsFlag{values: []int{1, 4, 8}, min: 1, want: "numbers from 1"}
	c := &cobra.Command{
		Use:   "serve URL|DIR|preset:NAME[,...]",
		Short: "Measure throughput and latency under load",
		Long: "Measure models behind the OpenAI API under load. A directory is served in this process, and so\n" +
			"is a preset with random weights; a URL by the server there. All models take turns; the first\n" +
			"one is the dense one. --concurrency is a closed loop, --rates an open loop with Poisson\n" +
			"arrivals. Prompts are random tokens.",
		Example: "  mop bench serve ./model,./pruned/0.40 --concurrency 1,4,8 --report ./report\n  mop bench serve http://127.0.0.1:8000 --rates 0.5,1,2 --max-ttft 500ms",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if format != "md" && format != "json" {
				return usage("--format: want md or json, got %q", format)
			}
			var err error
			if s.In, err = serving.ParseLength(in); err != nil {
				return usage("--in: %v", err)
			}
			if s.Out, err = serving.ParseLength(out); err != nil {
				return usage("--out: %v", err)
			}
			if rates != "" && !c.Flags().Changed("concurrency") {
				concurrency.values = nil
			}
			for _, n := range concurrency.values {
				s.Levels = append(s.Levels, serving.Level{Concurrency: n})
			}
			for field := range strings.FieldsFuncSeq(rates, func(r rune) bool { return r == ',' }) {
				rate, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
				if err != nil {
					return usage("--rates: want numbers with commas between them, got %q", field)
				}
				s.Levels = append(s.Levels, serving.Level{Rate: rate})
			}
			if s.Seed = o.seed; s.Vocab == 0 {
				s.Vocab = 1000
			}
			if err := s.Check(); err != nil {
				return usage("bench serve: %v", err)
			}
			return o.benchServe(c, compare.SplitNames(args[0]), s, e, tok, key, format, dir)
		},
	}
	o.generateFlags(c)
	f := c.Flags()
	f.Var(&concurrency, "concurrency", "requests under way at a time, with commas between them; none where only --rates is given")
	f.StringVar(&rates, "rates", "", "mean requests per second of an open loop, with commas between them")
	f.StringVar(&in, "in", "128", "tokens of a prompt; or MEAN:SD for a normal distribution")
	f.StringVar(&out, "out", "128", "tokens to generate; or MEAN:SD")
	f.IntVar(&s.Requests, "requests", 0, "requests to each model at each load in a round, 0 = 4 for each that is under way, at least 8")
	f.IntVar(&s.Rounds, "rounds", 3, "rounds in which the models take turns")
	f.IntVar(&s.Vocab, "vocab", 0, "prompts are random token ids below this number, 0 = 1000")
	f.DurationVar(&s.MaxTTFT, "max-ttft", 0, "goodput counts requests with at most this time to first token, 0 = any")
	f.DurationVar(&s.MaxITL, "max-itl", 0, "goodput counts requests with at most this mean time between tokens, 0 = any")
	f.IntVar(&e.MaxBatch, "max-batch", 16, "sequences that run at a time, of directories")
	f.StringVar(&tok, "tokenizer", "", "directory of the tokenizer, for a model without one such as preset:NAME; default: the model's")
	f.StringVar(&key, "api-key", "", "API key of the URLs")
	f.StringVar(&format, "format", "md", "md or json")
	f.StringVar(&dir, "report", "", "directory for a report with plots and all samples")
	return c
}

// benchServe measures URLs, and directories that it serves itself.
func (o *options) benchServe(c *cobra.Command, names []string, s serving.Options, e engine.Options, tok, key, format, dir string) (err error) {
	ctx := c.Context()
	host := machine.Describe()
	result := serving.Result{Command: "mop " + strings.Join(os.Args[1:], " "), Commit: build.Commit(), CPU: host.CPU, Device: "remote", In: s.In.String(), Out: s.Out.String(), Rounds: s.Rounds}
	var dirs []string
	for _, name := range names {
		if !isURL(name) {
			dirs = append(dirs, name)
		}
	}
	local := map[string]serving.Target{}
	if len(dirs) > 0 {
		specs, err := specsOf(dirs, nil)
		if err != nil {
			return err
		}
		dev, err := o.open()
		if err != nil {
			return err
		}
		defer dev.Close()
		result.Device, result.Threads, result.KVType = dev.Capabilities().Name, dev.Capabilities().Threads, dev.Capabilities().CacheType
		for i := range specs {
			specs[i].Weights, specs[i].Engine, specs[i].Tokenizer = o.weights, e, tok
		}
		targets, vocab, closeAll, err := serving.Local(ctx, dev, specs)
		if err != nil {
			return err
		}
		defer closeAll()
		s.Vocab = min(s.Vocab, vocab)
		for i, t := range targets {
			local[dirs[i]] = t
		}
	}
	var targets []serving.Target
	for _, name := range names {
		t, ok := local[name]
		if !ok {
			t = serving.Target{Name: name, URL: strings.TrimSuffix(strings.TrimSuffix(name, "/"), "/v1"), Key: key}
			if t.Model, err = serving.FirstModel(ctx, t.URL, key); err != nil {
				return err
			}
		}
		targets = append(targets, t)
	}
	if terminal := c.ErrOrStderr(); onTerminal(terminal) {
		s.OnRun = func(t serving.Target, l serving.Level, round int) {
			fmt.Fprintf(terminal, "round %d of %d: %s, %s\n", round+1, s.Rounds, t.Name, l)
		}
	}
	runs, err := serving.Measure(ctx, targets, s)
	if err != nil {
		return err
	}
	result.Rows = serving.Rows(runs, targets, s)
	for _, run := range runs {
		result.Samples = append(result.Samples, run.Samples...)
	}
	if dir != "" {
		if err := result.WriteDirectory(dir); err != nil {
			return err
		}
	}
	if format == "json" {
		err = result.JSON(c.OutOrStdout())
	} else {
		err = result.Markdown(c.OutOrStdout())
	}
	for _, row := range result.Rows {
		if err == nil && row.Errors > 0 {
			err = fmt.Errorf("%s, %s: %d of %d requests failed, the first with: %s", row.Target, row.Level, row.Errors, row.Requests, row.FirstError)
		}
	}
	return err
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}
