package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mop/prune"
	"mop/prune/criterion"
	"mop/prune/finetune"
	"mop/prune/method"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/device"
	"mop/runtime/predict"
)

func pruneCommand(o *options) *cobra.Command { return pruneCommandCalling(o, runPrune) }

// pruneCommandCalling is mop prune with another end: it calls do with the options that the
// flags describe.
func pruneCommandCalling(o *options, do func(*cobra.Command, prune.Options) error) *cobra.Command {
	var p prune.Options
	var targets, latencies, sample, train, tableFile, kvType string
	var measure bool
	work := workloadFlags{Workload: predict.Workload{In: 12, Out: 128, Batch: 1}}
	var replay []string
	p.Recovery.Recipe = finetune.Defaults()
	c := &cobra.Command{
		Use:   "prune --model DIR --out DIR --targets 0.2,0.3,0.4",
		Short: "Prune a model by MoP, one directory for each target",
		Long: "Prune a model by MoP: every step removes either the third-to-last layer or heads and\nneurons in every layer, whichever gives the better model. " +
			"A run may be stopped at any\nmoment and continued by --resume. With --plan, a model is made again from its plan.json,\nwithout data.",
		Example: "  mop prune --model ./llama-2-7b --out ./pruned --criterion kl --calibration alpaca.json --text wiki.txt\n" +
			"  mop prune --model ./llama-2-7b --out ./paper --criterion sequence --sequence LGGLLLGGLLGLGLLGGL --rule paper --calibration alpaca.json\n" +
			"  mop prune --model ./llama-2-7b --out ./again --plan ./pruned/0.20/plan.json --plan ./pruned/0.40/plan.json",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "out"); err != nil {
				return err
			}
			if len(replay) > 0 {
				return replayPlans(c, prune.ReplayOptions{Plans: replay, Model: p.Model, Out: p.Out, HFType: p.HFType, Resume: p.Resume})
			}
			rounds := p.Width.RoundTo == roundAuto
			if err := resolveRound(&p.Width, tableFile); err != nil {
				return err
			}
			if err := checkWidth(p.Width); err != nil {
				return err
			}
			if p.TargetLatency = latencies != ""; p.TargetLatency {
				if c.Flags().Changed("targets") {
					return usage("--targets and --target-latency: give one of them")
				}
			}
			var err error
			if p.TargetLatency {
				p.Targets, err = parseShares("target-latency", latencies)
			} else if p.Targets, err = plan.ParseTargets(targets); err != nil {
				err = usage("%v", err)
			}
			if err != nil {
				return err
			}
			if err := pruneLatency(c, o, &p, &work, kvType, tableFile, measure); err != nil {
				return err
			}
			if tableFile != "" && !rounds && p.MeasureLatency == nil {
				return usage("--latency: nothing uses the table: give --criterion latency, --target-latency or --round-to auto")
			}
			if sample != "first" && sample != "seeded" {
				return usage("--calibration-sample: want first or seeded, got %q", sample)
			}
			if err := methodDefaults(c, &p); err != nil {
				return err
			}
			p.Sample, p.Seed = sample == "seeded", o.seed
			for _, name := range []string{"recover-steps", "recover-split", "recover-lr", "recover-rank", "recover-alpha"} {
				if c.Flags().Changed(name) && train == "" && (name == "recover-steps" || p.Recovery.Short == 0) {
					return usage("--%s: belongs to a training that was not asked for: give --recover FILE", name)
				}
			}
			if p.Recovery.Final = train != ""; !p.Recovery.Final {
				train = p.Calibration
			}
			p.Recovery.Recipe.Data = train
			recipeDefaults(c, p.Model, &p.Recovery.Recipe, "recover-rank", "recover-alpha")
			p.OpenDevice = func() (device.Device, error) { return openFor(o, p.NeedsTrainer()) }
			return do(c, p)
		},
	}
	f := c.Flags()
	f.StringVar(&p.Model, "model", "", "model directory")
	f.StringVar(&p.Out, "out", "", "directory for the smaller models")
	f.StringVar(&targets, "targets", "0.2,0.3,0.4", "compressions, as shares of all parameters")
	f.StringVar(&latencies, "target-latency", "", "instead of --targets: shares of the unpruned model's latency, such as 0.6,0.7,0.8, met by measurement on the device")
	f.StringVar(&tableFile, "latency", "", "latency table of mop sweep, from which criterion latency predicts times instead of measuring them")
	f.BoolVar(&measure, "measure", true, "meet --target-latency by measurement on the device; false: by the table's prediction alone, for a machine that other programs use too")
	work.register(c)
	latencyKVFlag(c, &kvType)
	f.BoolVar(&p.ExactTarget, "exact-target", false, "meet each target exactly, by a last width step of the size that is missing")
	f.StringVar(&p.Method, "method", "mop", "what is removed: "+method.Help()+" (docs/methods.md)")
	f.StringVar(&p.Criterion, "criterion", "kl", "what decides between a depth step and a width step: "+criterion.Help())
	f.StringVar(&p.Sequence, "sequence", "", "the path for criterion sequence: L removes a layer, G heads and neurons")
	f.StringVar(&p.NeuronScore, "neuron-score", "amp", "importance score of neurons: "+score.Help())
	f.StringVar(&p.HeadScore, "head-score", "amp", "importance score of heads: the same ones")
	f.BoolVar(&p.Refit, "refit", false, "refit the kept columns of o_proj and down_proj of each target's model to the dense outputs by least squares on the calibration text; it needs about 16 tokens a column")
	f.StringVar(&p.Calibration, "calibration", "", "prompts for the scores: JSON or JSON lines of instructions, texts, prompts or messages; or a text")
	dataFlags(c, &p.Special, &p.ChatTemplate)
	f.IntVar(&p.Prompts, "prompts", 128, "number of prompts")
	f.StringVar(&sample, "calibration-sample", "first", "first: the first prompts; seeded: a random sample")
	f.StringVar(&p.Text, "text", "", "text that the criterion is computed on")
	f.StringVar(&p.Separator, "split", "", "text between that file's documents")
	f.IntVar(&p.Windows, "windows", 0, "number of windows of that text; 0 = that of the method, 32 for mop")
	f.IntVar(&p.Context, "context", 512, "tokens in a window, BOS included")
	hfTypeFlag(c, &p.HFType)
	f.StringArrayVar(&replay, "plan", nil, "make the model of this plan.json again, without data; may be given several times")
	f.StringVar(&train, "recover", "", "train each target's model on the rows of this file, as mop recover does, and write it to OUT/TARGET-recovered")
	f.IntVar(&p.Recovery.Short, "short-recovery", 0, "train each candidate for this many steps before it is scored, and discard that training; on the file of --recover, or else of --calibration")
	f.StringVar(&p.Recovery.Recipe.Separator, "recover-split", "", "text between the documents of a text file that is trained on")
	f.IntVar(&p.Recovery.Recipe.Steps, "recover-steps", 0, "steps of --recover, 0 = two epochs")
	f.Float64Var(&p.Recovery.Recipe.LearningRate, "recover-lr", p.Recovery.Recipe.LearningRate, "learning rate of both trainings")
	f.IntVar(&p.Recovery.Recipe.Rank, "recover-rank", p.Recovery.Recipe.Rank, "rank of the adapters of both trainings; of a LLaVA 8 unless it is given")
	f.Float64Var(&p.Recovery.Recipe.Alpha, "recover-alpha", p.Recovery.Recipe.Alpha, "the adapters of both trainings are scaled by alpha/rank; of a LLaVA 16 unless it is given")
	f.BoolVar(&p.Resume, "resume", false, "continue a run that was stopped, or continue to other targets")
	widthFlags(c, &p.Width)
	return c
}

// methodDefaults gives options that are not given the values that the method has for them:
// none where it does not use them.
func methodDefaults(c *cobra.Command, p *prune.Options) error {
	m, err := method.ByName(p.Method)
	if err != nil {
		return usage("%v", err)
	}
	changed := c.Flags().Changed
	uses := m.Uses()
	if !uses.Criterion && !changed("criterion") {
		p.Criterion = ""
	} else if p.Sequence != "" && !changed("criterion") {
		p.Criterion = criterion.Sequence
	}
	if !uses.Scores && !changed("head-score") {
		p.HeadScore = ""
	}
	if !uses.Scores && !changed("neuron-score") {
		p.NeuronScore = ""
	}
	if p.Windows == 0 {
		p.Windows = max(uses.Windows, 1)
	}
	return nil
}

// runPrune prunes, and prints a line for each model.
func runPrune(c *cobra.Command, p prune.Options) error {
	bar := newBars(c.ErrOrStderr())
	p.Progress = bar.showOnTerminal
	plans, err := prune.Run(c.Context(), p)
	bar.end()
	if err != nil {
		return pruneError(err)
	}
	if err := printModels(c.OutOrStdout(), p.Out, plans); err != nil || !p.Recovery.Final {
		return err
	}
	for _, pruned := range plans {
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%s  trained\n", prune.RecoveredDir(p.Out, pruned.Target)); err != nil {
			return err
		}
	}
	return nil
}

// pruneError makes wrong options a usage error.
func pruneError(err error) error {
	if wrong := (prune.OptionsError{}); errors.As(err, &wrong) {
		return usage("%v", wrong)
	}
	return resumable(err)
}

// openFor opens the device, one that computes gradients if the run needs them.
func openFor(o *options, gradients bool) (device.Device, error) {
	if gradients {
		return o.openTrainer()
	}
	return o.open()
}

// replayPlans makes the models of plans again. It refuses flags that would change what
// the plans decided.
func replayPlans(c *cobra.Command, r prune.ReplayOptions) error {
	var other []string
	c.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains([]string{"plan", "model", "out", "hf-type", "resume"}, f.Name) && c.InheritedFlags().Lookup(f.Name) == nil {
			other = append(other, "--"+f.Name)
		}
	})
	if len(other) > 0 {
		return usage("--plan decides how the model is made; it excludes %s", strings.Join(other, ", "))
	}
	var unused []string
	for _, name := range []string{"device", "kernels", "seed"} {
		if f := c.Flag(name); f.Changed && f.Value.String() != "cpu" {
			unused = append(unused, "--"+name)
		}
	}
	if len(unused) > 0 {
		slog.Warn("--plan needs neither device nor random numbers", "not used", strings.Join(unused, ", "))
	}
	plans, err := prune.Replay(c.Context(), r)
	if err != nil {
		return pruneError(err)
	}
	return printModels(c.OutOrStdout(), r.Out, plans)
}

// printModels prints a line for each model.
func printModels(w io.Writer, out string, plans []*plan.Plan) error {
	for _, p := range plans {
		s := p.TargetStep()
		if _, err := fmt.Fprintf(w, "%s  step %d, %d parameters, %.2f %% smaller\n", prune.TargetDir(out, p.Target), s.Step, s.Params, 100*s.Compression); err != nil {
			return err
		}
	}
	return nil
}
