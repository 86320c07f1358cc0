package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/runtime/open"
	"mop/runtime/predict"
)

// widthFlags are the flags of the width branch.
func widthFlags(c *cobra.Command, w *plan.Options) {
	f := c.Flags()
	f.StringVar(&w.Rule, "rule", "auto", "how a width step divides what it removes: "+plan.RulesHelp())
	w.RoundTo = 1
	f.Var((*roundFlag)(&w.RoundTo), "round-to", "intermediate sizes become multiples of this; auto: of what the table of --latency says costs nothing extra")
	f.IntVar(&w.HeadsMultiple, "heads-multiple", 1, "head counts become multiples of this")
	f.StringVar(&w.Allocation, "allocation", plan.Uniform, "uniform: every layer loses the same; global: the lowest scores of the whole model are removed")
}

// roundFlag is the value of --round-to: a number, or roundAuto for auto.
type roundFlag int

// roundAuto stands for auto until resolveRound has read the latency table.
const roundAuto = -1

func (r *roundFlag) Set(text string) error {
	if text == "auto" {
		*r = roundAuto
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("want a number or auto, got %q", text)
	}
	if n == roundAuto {
		n-- // out of range like it, but not auto
	}
	*r = roundFlag(n)
	return nil
}

func (r *roundFlag) String() string {
	if *r == roundAuto {
		return "auto"
	}
	return strconv.Itoa(int(*r))
}

func (r *roundFlag) Type() string { return "number" }

// resolveRound replaces auto by the multiple that a latency table recommends.
func resolveRound(w *plan.Options, tableFile string) error {
	if w.RoundTo != roundAuto {
		return nil
	}
	if tableFile == "" {
		return usage("--round-to auto: needs --latency TABLE")
	}
	t, err := predict.Load(tableFile)
	if err != nil {
		return err
	}
	n, ok := t.RoundTo()
	if !ok {
		return fmt.Errorf("%s: --round-to auto: the table has too few undisturbed odd widths: measure them with mop sweep --what mlp, or give --round-to a number", tableFile)
	}
	w.RoundTo = n
	return nil
}

// checkWidth refuses 0, which the package takes as its default.
func checkWidth(w plan.Options) error {
	if w.RoundTo == 0 || w.HeadsMultiple == 0 {
		return usage("--round-to and --heads-multiple: want at least 1, got %d and %d", w.RoundTo, w.HeadsMultiple)
	}
	return nil
}

// wrongUse is usage, except for a target that this model cannot reach.
func wrongUse(err error) error {
	if errors.Is(err, plan.ErrTarget) {
		return err
	}
	return usage("%v", err)
}

// pathCriterion returns the criterion that fixes the path: that of --criterion, or
// criterion sequence for the steps of --sequence.
func pathCriterion(name, sequence string) (criterion.Chooser, error) {
	if (name == "") != (sequence == "") && name != criterion.Sequence {
		if sequence != "" {
			name = criterion.Sequence
		}
		if c, err := criterion.ByName(name); err == nil {
			if chooser, ok := c.(criterion.Chooser); ok {
				return chooser, nil
			}
		}
	}
	return nil, usage("plan: want either --sequence LGG... or --criterion random")
}

func planCommand(o *options) *cobra.Command {
	var name, sequence, chooserName string
	var steps int
	var target float64
	var w plan.Options
	var asJSON bool
	var tableFile string
	work := workloadFlags{Workload: predict.Workload{In: 12, Out: 128, Batch: 1}}
	var verify int
	c := &cobra.Command{
		Use:   "plan --model DIR|preset:NAME --sequence LGG...",
		Short: "Show the sizes along a pruning path, without weights",
		Example: "  mop plan --model preset:llama-2-7b --sequence LGGLLLGGLLGLGLLGGL --rule paper\n" +
			"  mop plan --model preset:llama-3-8b --criterion random --seed 3 --target 0.4 --json",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model"); err != nil {
				return err
			}
			if err := resolveRound(&w, tableFile); err != nil {
				return err
			}
			if err := checkWidth(w); err != nil {
				return err
			}
			if err := w.Check(); err != nil {
				return usage("%v", err)
			}
			base, err := open.Config(name)
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
			chooser, err := pathCriterion(chooserName, sequence)
			if err != nil {
				return err
			}
			if verify != 0 && tableFile == "" || verify < 0 {
				return usage("--verify: want a number of plans and --latency TABLE to verify, got %d", verify)
			}
			if tableFile == "" && (work.changed(c) || o.kvType != "") {
				return usage("--in, --out-tokens, --batch, --part and --kv-type need --latency TABLE")
			}
			dryRun := func(seed uint64) (*plan.Plan, error) {
				path, err := chooser.Path(criterion.Settings{Seed: seed, Sequence: sequence})
				if err != nil {
					return nil, usage("%v", err)
				}
				if path = path.Limit(steps); path.Endless && target == 0 {
					return nil, usage("plan: --criterion %s wants --steps or --target", chooser.Name())
				}
				p, err := plan.DryRun(base, w, path.Kind, target)
				if err != nil {
					return nil, wrongUse(err)
				}
				p.Sequence, p.Criterion, p.Seed = sequence, chooser.Name(), seed
				return p, nil
			}
			p, err := dryRun(o.seed)
			if err != nil {
				return err
			}
			if tableFile != "" {
				table, predictor, err := work.predictor(tableFile, o.kvType, base)
				if err != nil {
					return err
				}
				p.PredictLatency(predictor)
				if verify > 0 {
					models, err := verifiedPlans(p, verify, dryRun)
					if err != nil {
						return err
					}
					return verifyPlans(c, o, name, tableFile, table, base, models, work.Workload, asJSON)
				}
			}
			if asJSON {
				return p.Write(c.OutOrStdout())
			}
			return p.Table(c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&name, "model", "", "model directory or preset:NAME")
	f.StringVar(&sequence, "sequence", "", "the path: L removes a layer, G heads and neurons")
	f.StringVar(&chooserName, "criterion", "", "random: a seeded random choice at each step")
	f.IntVar(&steps, "steps", 0, "end after this many steps")
	f.Float64Var(&target, "target", 0, "end at the first step of at least this compression")
	f.BoolVar(&asJSON, "json", false, "print the plan, or what --verify found, as JSON")
	f.StringVar(&tableFile, "latency", "", "latency table of mop sweep: predict the time of the base and of every step")
	f.IntVar(&verify, "verify", 0, "measure this many plans with random weights and compare with the predictions: steps of the path, or of other random paths")
	work.register(c)
	widthFlags(c, &w)
	o.measureFlags(c)
	return c
}
