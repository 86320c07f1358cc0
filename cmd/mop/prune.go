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
	"mop/prune/plan"
	"mop/runtime/device"
)

// widthFlags are those of the width branch.
func widthFlags(c *cobra.Command, w *plan.Options) {
	f := c.Flags()
	f.StringVar(&w.Rule, "rule", "auto", "how a width step divides what it removes: "+plan.RulesHelp())
	f.IntVar(&w.RoundTo, "round-to", 1, "intermediate sizes become multiples of this")
	f.IntVar(&w.HeadsMultiple, "heads-multiple", 1, "head counts become multiples of this")
	f.StringVar(&w.Allocation, "allocation", "uniform", "uniform: every layer loses the same; global: the lowest scores of the whole model are removed")
}

// checkWidth refuses 0, which the package takes as its default.
func checkWidth(w plan.Options) error {
	if w.RoundTo == 0 || w.HeadsMultiple == 0 {
		return usage("--round-to and --heads-multiple: want at least 1, got %d and %d", w.RoundTo, w.HeadsMultiple)
	}
	return nil
}

// wrongUse is usage, but for a target that this model cannot meet.
func wrongUse(err error) error {
	if errors.Is(err, plan.ErrTarget) {
		return err
	}
	return usage("%v", err)
}

func planCommand(o *options) *cobra.Command {
	var name, sequence, criterion string
	var steps int
	var target float64
	var w plan.Options
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan --model DIR|preset:NAME --sequence LGG...",
		Short: "Show what a path leaves of a model, from its sizes alone",
		Example: "  mop plan --model preset:llama-2-7b --sequence LGGLLLGGLLGLGLLGGL --rule paper\n" +
			"  mop plan --model preset:llama-3-8b --criterion random --seed 3 --target 0.4 --json",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model"); err != nil {
				return err
			}
			if err := checkWidth(w); err != nil {
				return err
			}
			if err := w.Check(); err != nil {
				return usage("%v", err)
			}
			base, err := o.configOf(name)
			if err != nil {
				return err
			}
			if c.Flags().Changed("target") {
				if err := plan.CheckTarget(target); err != nil {
					return usage("%v", err)
				}
			}
			if steps < 0 {
				return usage("--steps: want 0 or more, got %d", steps)
			}
			var choose func(int) (plan.Kind, bool)
			switch {
			case sequence != "" && criterion == "":
				kinds, err := plan.ParseSequence(sequence)
				if err != nil {
					return usage("%v", err)
				}
				choose = plan.Sequence(kinds)
			case sequence == "" && criterion == "random":
				if steps == 0 && target == 0 {
					return usage("plan: --criterion random wants --steps or --target")
				}
				choose = func(n int) (plan.Kind, bool) { return plan.Coin(o.seed, n), true }
			default:
				return usage("plan: want --sequence LGG... or --criterion random, one of them")
			}
			limited := func(n int) (plan.Kind, bool) {
				if steps > 0 && n > steps {
					return "", false
				}
				return choose(n)
			}
			p, err := plan.DryRun(base, w, limited, target)
			if err != nil {
				return wrongUse(err)
			}
			p.Sequence, p.Criterion, p.Seed = sequence, criterion, o.seed
			if sequence != "" {
				p.Criterion = "sequence"
			}
			if asJSON {
				return p.Write(c.OutOrStdout())
			}
			return p.Table(c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&name, "model", "", "model directory or preset:NAME")
	f.StringVar(&sequence, "sequence", "", "the path: L cuts a layer, G heads and neurons")
	f.StringVar(&criterion, "criterion", "", "random: a seeded coin decides")
	f.IntVar(&steps, "steps", 0, "end after this many steps")
	f.Float64Var(&target, "target", 0, "end at the first step of at least this compression")
	f.BoolVar(&asJSON, "json", false, "print the plan as JSON")
	widthFlags(c, &w)
	return c
}

func pruneCommand(o *options) *cobra.Command {
	var p prune.Options
	var targets, sample, train string
	var replay []string
	p.Recovery.Recipe = finetune.Defaults()
	c := &cobra.Command{
		Use:   "prune --model DIR --out DIR --targets 0.2,0.3,0.4",
		Short: "Prune a model by MoP, one directory for each target",
		Long: "Prune a model by MoP: at every step the third-to-last layer is cut, or heads and\nneurons everywhere, and the better branch goes on. " +
			"A run may be stopped at any moment\nand gone on with by --resume. With --plan, a model is made again from its plan.json, without data.",
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
			if err := checkWidth(p.Width); err != nil {
				return err
			}
			var err error
			if p.Targets, err = plan.ParseTargets(targets); err != nil {
				return usage("%v", err)
			}
			if sample != "first" && sample != "seeded" {
				return usage("--calibration-sample: want first or seeded, got %q", sample)
			}
			if p.Sequence != "" && !c.Flags().Changed("criterion") {
				p.Criterion = "sequence"
			}
			p.Sample, p.Seed = sample == "seeded", o.seed
			for _, name := range []string{"recover-steps", "recover-split", "recover-lr", "recover-rank", "recover-alpha"} {
				if c.Flags().Changed(name) && train == "" && (name == "recover-steps" || p.Recovery.Short == 0) {
					return usage("--%s: of a training that was not asked for: give --recover FILE", name)
				}
			}
			if p.Recovery.Final = train != ""; !p.Recovery.Final {
				train = p.Calibration
			}
			p.Recovery.Recipe.Data = train
			p.OpenDevice = func() (device.Device, error) { return openFor(o, p.Recovery) }
			bar := newBars(c.ErrOrStderr())
			p.Progress = bar.tell
			plans, err := prune.Run(c.Context(), p)
			bar.end()
			if err != nil {
				return pruneError(err)
			}
			if err := printMade(c.OutOrStdout(), p.Out, plans); err != nil || !p.Recovery.Final {
				return err
			}
			for _, made := range plans {
				if _, err := fmt.Fprintf(c.OutOrStdout(), "%s  trained\n", prune.RecoveredDir(p.Out, made.Target)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&p.Model, "model", "", "model directory")
	f.StringVar(&p.Out, "out", "", "directory for the smaller models")
	f.StringVar(&targets, "targets", "0.2,0.3,0.4", "compressions, shares of all parameters")
	f.BoolVar(&p.ExactTarget, "exact-target", false, "meet each target exactly: its model ends with a width step of what is left")
	f.StringVar(&p.Criterion, "criterion", "kl", "what decides between a depth step and a width step: "+criterion.Help())
	f.StringVar(&p.Sequence, "sequence", "", "the path for criterion sequence: L cuts a layer, G heads and neurons")
	f.StringVar(&p.Calibration, "calibration", "", "AMP's prompts: .json (instructions), .jsonl (texts) or a text file")
	f.IntVar(&p.Prompts, "prompts", 128, "how many prompts")
	f.StringVar(&sample, "calibration-sample", "first", "first: the first prompts; seeded: a random sample")
	f.StringVar(&p.Text, "text", "", "text that the criterion is taken on")
	f.StringVar(&p.Separator, "split", "", "text between that file's documents")
	f.IntVar(&p.Windows, "windows", 32, "how many windows of it")
	f.IntVar(&p.Context, "context", 512, "ids in a window, BOS included")
	f.StringVar(&p.HFType, "hf-type", "", "what config.json calls the model: "+strings.Join(prune.HFTypes(), " or ")+", which transformers 5 loads with any number of heads (default llama)")
	f.StringArrayVar(&replay, "plan", nil, "make the model of this plan.json again, without data; may be given several times")
	f.StringVar(&train, "recover", "", "train each target's model on the rows of this file, as mop recover does, into OUT/TARGET-recovered")
	f.IntVar(&p.Recovery.Short, "short-recovery", 0, "train each candidate for so many steps before it is scored, then throw that away; on the file of --recover, else of --calibration")
	f.StringVar(&p.Recovery.Recipe.Separator, "recover-split", "", "text between the documents of a text file that is trained on")
	f.IntVar(&p.Recovery.Recipe.Steps, "recover-steps", 0, "steps of --recover, 0 = two epochs")
	f.Float64Var(&p.Recovery.Recipe.LearningRate, "recover-lr", p.Recovery.Recipe.LearningRate, "learning rate of both")
	f.IntVar(&p.Recovery.Recipe.Rank, "recover-rank", p.Recovery.Recipe.Rank, "rank of both's adapters")
	f.Float64Var(&p.Recovery.Recipe.Alpha, "recover-alpha", p.Recovery.Recipe.Alpha, "both's adapters count alpha/rank")
	f.BoolVar(&p.Resume, "resume", false, "go on with a run that was stopped, or to other targets")
	widthFlags(c, &p.Width)
	return c
}

// pruneError makes wrong options a usage error.
func pruneError(err error) error {
	if wrong := (prune.OptionsError{}); errors.As(err, &wrong) {
		return usage("%v", wrong)
	}
	return resumable(err)
}

// openFor starts the device, one that can train where the run does.
func openFor(o *options, v prune.Recovery) (device.Device, error) {
	if v.Final || v.Short > 0 {
		return o.openTrainer()
	}
	return o.open()
}

// replayPlans makes the models of plans again; what would choose otherwise is
// refused.
func replayPlans(c *cobra.Command, r prune.ReplayOptions) error {
	var other []string
	c.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains([]string{"plan", "model", "out", "hf-type", "resume"}, f.Name) && c.InheritedFlags().Lookup(f.Name) == nil {
			other = append(other, "--"+f.Name)
		}
	})
	if len(other) > 0 {
		return usage("--plan says how the model was made: not to be given with it: %s", strings.Join(other, ", "))
	}
	var unused []string
	for _, name := range []string{"device", "kernels", "seed"} {
		if f := c.Flag(name); f.Changed && f.Value.String() != "cpu" {
			unused = append(unused, "--"+name)
		}
	}
	if len(unused) > 0 {
		slog.Warn("--plan computes and draws nothing", "not used", strings.Join(unused, ", "))
	}
	plans, err := prune.Replay(c.Context(), r)
	if err != nil {
		return pruneError(err)
	}
	return printMade(c.OutOrStdout(), r.Out, plans)
}

// printMade is a line for each model.
func printMade(w io.Writer, out string, plans []*plan.Plan) error {
	for _, p := range plans {
		s := p.TargetStep()
		if _, err := fmt.Fprintf(w, "%s  step %d, %d parameters, %.2f %% smaller\n", prune.TargetDir(out, p.Target), s.Step, s.Params, 100*s.Compression); err != nil {
			return err
		}
	}
	return nil
}
