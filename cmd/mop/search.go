package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mop/internal/files"
	"mop/prune"
	"mop/prune/score"
	"mop/prune/search"
	"mop/runtime/device"
	"mop/runtime/open"
	"mop/runtime/predict"
)

func searchCommand(o *options) *cobra.Command {
	s := search.Defaults()
	work := workloadFlags{Workload: s.Workload}
	var targets, targetBytes, tableFile, kvType string
	var measure bool
	c := &cobra.Command{
		Use:   "search --model DIR --latency TABLE --target-latency 0.6,0.7,0.8 --out DIR",
		Short: "Choose the heads and neurons of every layer for a wanted latency",
		Long: "Choose the shape of every layer by measured time: the loss of each block alone, dynamic\n" +
			"programming over the latency table, and evolution on growing amounts of text. One\n" +
			"directory is written for each target and seed. A search may be stopped at any moment;\n" +
			"--resume continues it and ends with the same models. Searches of other targets or seeds\n" +
			"may run at the same time with the same --out.",
		Example: "  mop search --model ./smollm2 --latency table.json --target-latency 0.6,0.8 --calibration alpaca.json --text wiki.train.raw --out ./searched\n" +
			"  mop search --model ./smollm2 --target-bytes 0.7 --calibration alpaca.json --text wiki.train.raw --out ./searched",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "out"); err != nil {
				return err
			}
			if (targets == "") == (targetBytes == "") {
				return usage("search: want either --target-latency or --target-bytes")
			}
			if err := checkSearchFlags(c); err != nil {
				return err
			}
			flag := "target-latency"
			s.Objective = "latency"
			if targetBytes != "" {
				s.Objective, flag = "bytes", "target-bytes"
			}
			var err error
			if s.Targets, err = parseShares(flag, c.Flag(flag).Value.String()); err != nil {
				return err
			}
			if err := work.check(); err != nil {
				return err
			}
			if err := o.checkLatencyKV(kvType); err != nil {
				return err
			}
			s.Workload, s.Seed = work.Workload, o.seed
			meter := &tableMeter{options: o, workload: s.Workload, kvType: kvType}
			if s.Objective == "latency" {
				if tableFile == "" {
					return usage("search: --target-latency needs --latency TABLE")
				}
				if s.Table, err = predict.Load(tableFile); err != nil {
					return err
				}
				if s.Identity, err = files.Sum(tableFile); err != nil {
					return err
				}
				base, err := open.Config(s.Model)
				if err != nil {
					return err
				}
				if err := s.Table.CheckModel(base); err != nil {
					return fmt.Errorf("%s: %w", tableFile, err)
				}
				if err := checkTableKV(kvType, tableFile, s.Table); err != nil {
					return err
				}
				if most := base.MaxPositions; work.In+work.Out > most {
					return usage("--in and --out-tokens: want at most %d positions, the model's context, got %d", most, work.In+work.Out)
				}
				work.warnExtrapolated(tableFile, s.Table)
				if measure {
					s.Identity += ", measured on " + meter.identity()
					meter.table, meter.file, s.Measure = s.Table, tableFile, meter.measure
				}
			}
			if s.Recipe.Data == "" {
				s.Recipe.Data = s.Calibration
			}
			s.OpenDevice = func() (device.Device, error) {
				dev, err := openFor(o, s.Short > 0)
				if err == nil {
					if err = meter.check(dev); err != nil {
						dev.Close()
					}
				}
				return dev, err
			}
			bar := newBars(c.ErrOrStderr())
			s.Progress = bar.show
			models, err := search.Run(c.Context(), s)
			bar.end()
			if err != nil {
				if wrong := (prune.OptionsError{}); errors.As(err, &wrong) {
					return usage("%v", wrong)
				}
				return resumable(err)
			}
			for _, m := range models {
				line := "  another job is searching for it"
				if !m.Skipped {
					line = fmt.Sprintf("  %d parameters, %.2f %% smaller, %.3f of the dense model's %s, KL %.4f (before evolution %.4f)",
						m.Plan.TargetStep().Params, 100*m.Plan.TargetStep().Compression, m.Cost, s.Objective, m.KL, m.StartKL)
				}
				if _, err := fmt.Fprintln(c.OutOrStdout(), m.Dir+line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&s.Model, "model", "", "model directory")
	f.StringVar(&s.Out, "out", "", "directory for the models, and for what all searches of it share")
	f.StringVar(&tableFile, "latency", "", "latency table of mop sweep")
	f.StringVar(&targets, "target-latency", "", "shares of the dense model's latency, with commas between them")
	f.StringVar(&targetBytes, "target-bytes", "", "shares of the dense model's parameters, instead of --target-latency")
	work.register(c)
	latencyKVFlag(c, &kvType)
	f.BoolVar(&measure, "measure", true, "meet the target by measurement on the device; false: by the table's prediction alone")
	f.StringVar(&s.Calibration, "calibration", "", "prompts for the scores and the refit, as of mop prune")
	f.IntVar(&s.Prompts, "prompts", s.Prompts, "number of prompts")
	f.StringVar(&s.NeuronScore, "neuron-score", "amp", "importance score of neurons: "+score.Help())
	f.StringVar(&s.HeadScore, "head-score", "amp", "importance score of heads: the same ones")
	f.BoolVar(&s.Refit, "refit", false, "refit the kept columns of o_proj and down_proj of every candidate to the dense outputs by least squares on the prompts; it needs about 16 tokens a column")
	f.StringVar(&s.Text, "text", "", "text on which models are compared")
	f.StringVar(&s.Separator, "split", "", "text between that file's documents")
	f.IntVar(&s.Context, "context", s.Context, "tokens in a window, BOS included")
	f.IntVar(&s.LossWindows, "loss-windows", s.LossWindows, "windows for the losses of single blocks and evolution's first stage")
	f.IntVar(&s.Windows, "windows", s.Windows, "windows of evolution's last stage")
	f.StringVar(&s.Attention, "attention", "auto", "attention blocks: search makes them smaller too; keep leaves them; auto keeps them in models with grouped-query attention, since on windows of few tokens a loss of KV heads costs less than it does on long text")
	f.IntVar(&s.Levels, "levels", s.Levels, "sizes of an MLP block, evenly spaced, that the search chooses among")
	f.DurationVar(&s.Time, "time", s.Time, "time of each target's evolution, about; 0 = dynamic programming only")
	f.IntVar(&s.Generations, "generations", 0, "generations of evolution, instead of --time")
	f.IntVar(&s.Offspring, "offspring", s.Offspring, "candidates of a generation")
	f.IntVar(&s.Short, "short-recovery", 0, "after evolution, train the best four candidates for this many steps and choose the one that is then the best; that training is discarded")
	f.StringVar(&s.Recipe.Data, "recover", "", "rows that --short-recovery trains on; default: those of --calibration")
	hfTypeFlag(c, &s.HFType)
	f.BoolVar(&s.Resume, "resume", false, "continue a search that was stopped")
	return c
}

// checkSearchFlags refuses flags that exclude each other, and those that would have no effect.
func checkSearchFlags(c *cobra.Command) error {
	given := func(name string) bool { return c.Flags().Changed(name) }
	if given("target-bytes") {
		for _, name := range []string{"latency", "in", "out-tokens", "batch", "part", "kv-type", "measure"} {
			if given(name) {
				return usage("search: --%s is of latencies: --target-bytes needs none, leave it out", name)
			}
		}
	}
	if given("time") && given("generations") {
		return usage("search: --time and --generations: give one of them")
	}
	if given("recover") && !given("short-recovery") {
		return usage("search: --recover belongs to a training that was not asked for: give --short-recovery N")
	}
	return nil
}
