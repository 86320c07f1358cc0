package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mattn/go-shellwords"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mop/bench/study"
	"mop/bench/tasks/zeroshot"
	"mop/prune"
	"mop/prune/plan"
	"mop/runtime/device"
)

// sharedFlags are the flags of mop prune that mop compare has too, for all its rows.
var sharedFlags = []string{"calibration", "prompts", "calibration-sample", "text", "split", "windows", "context", "special", "chat-template", "hf-type"}

func compareCommand(o *options) *cobra.Command {
	s := study.Defaults()
	var methods, targets, tasks, kvType string
	var rows, dirs []string
	var skipLatency bool
	s.Recipe.Every = 20
	c := &cobra.Command{
		Use:   "compare --model DIR --methods mop,depth,width --targets 0.2,0.3,0.4 --out DIR",
		Short: "Compare pruning methods: quality, size and latency in one report",
		Long: "Compare pruning methods: prune by each of them, train all models alike, evaluate them before\n" +
			"and after, measure their latency in turns, and write one report (report.html, report.md,\n" +
			"study.csv, study.json). The same command continues a study that was stopped; rows, targets and\n" +
			"seeds may be added to one. Two models of the same weights are evaluated once, and two of the\n" +
			"same shapes are measured once.",
		Example: "  mop compare --model ./smollm2 --methods mop,depth,width --calibration alpaca.json --text wiki.train.raw \\\n" +
			"      --recover alpaca.json --recover-steps 50 --tasks piqa,arc_easy --data ./zero-shot --ppl-text wiki.test.raw --out ./study\n" +
			"  mop compare --model ./smollm2 --row 'ours=--neuron-score wanda --refit --calibration c4.jsonl' --dirs search=./searched/0.80 ...",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "out"); err != nil {
				return err
			}
			var err error
			if s.Targets, err = plan.ParseTargets(targets); err != nil {
				return usage("%v", err)
			}
			if tasks != "" {
				if s.Tasks, err = zeroshot.Parse(tasks); err != nil {
					return usage("--tasks: %v", err)
				}
			}
			if s.Rows, err = studyRows(c, o, s.Model, methods, rows, dirs); err != nil {
				return err
			}
			s.Recover = s.Recipe.Data != ""
			for _, name := range []string{"recover-steps", "recover-split", "recover-batch", "recover-max-length", "recover-lr", "recover-rank", "recover-alpha"} {
				if c.Flags().Changed(name) && !s.Recover {
					return usage("--%s: belongs to a training that was not asked for: give --recover FILE", name)
				}
			}
			recipeDefaults(c, s.Model, &s.Recipe, "recover-rank", "recover-alpha")
			s.Seed, s.Latency, s.Kernels, s.KVType, s.Protocol.Seed = o.seed, !skipLatency, o.kernels, kvType, o.seed
			s.Command = "mop " + quoted(os.Args[1:])
			if err := o.checkLatencyKV(kvType); err != nil {
				return err
			}
			s.OpenDevice = func() (device.Device, error) {
				return openFor(o, s.Recover || slices.ContainsFunc(s.Rows, func(r study.Row) bool { return r.Prune.NeedsTrainer() }))
			}
			bar := newBars(c.ErrOrStderr())
			s.Progress = bar.show
			result, err := study.Run(c.Context(), s)
			bar.end()
			if err != nil {
				if wrong := (study.OptionsError{}); errors.As(err, &wrong) {
					return usage("%v", wrong)
				}
				if wrong := (prune.OptionsError{}); errors.As(err, &wrong) {
					return usage("%v", wrong)
				}
				return repeatable(err)
			}
			_, err = fmt.Fprint(c.OutOrStdout(), result.Markdown())
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&s.Model, "model", "", "model directory")
	f.StringVar(&s.Out, "out", "", "directory for the models, the finished cells and the report")
	f.StringVar(&methods, "methods", "", "methods with commas between them, a row each: values of mop prune --method")
	f.StringArrayVar(&rows, "row", nil, "NAME=FLAGS: a row with its own flags of mop prune; may be given several times")
	f.StringArrayVar(&dirs, "dirs", nil, "NAME=DIR[,NAME=DIR...]: finished models as rows; those of one name are one series, and those of one name and target are its seeds; DIR may be a pattern such as './searched/0.70-seed*'")
	f.StringVar(&targets, "targets", "0.2,0.3,0.4", "compressions, as shares of all parameters")
	f.IntVar(&s.Seeds, "seeds", s.Seeds, "number of seeds, from --seed: of what is random in pruning and training")
	copyFlags(c, pruneCommandCalling(&options{}, nil))
	f.StringVar(&tasks, "tasks", "", "multiple-choice tasks with commas between them: "+strings.Join(zeroshot.Names(), ", "))
	f.StringVar(&s.Data, "data", "", "folder of the tasks' files")
	f.IntVar(&s.Limit, "limit", 0, "only so many questions of each task; 0 = all")
	f.StringVar(&s.BOS, "bos", s.BOS, "whether the tasks' contexts begin with BOS: on, off, or auto: as the tokenizer does it with texts")
	f.StringVar(&s.Text, "ppl-text", "", "text that perplexities are computed on")
	f.StringVar(&s.Separator, "ppl-split", "", "text between that file's documents")
	f.IntVar(&s.Windows, "ppl-windows", s.Windows, "the first windows of it; 0 = all")
	f.IntVar(&s.Context, "ppl-context", s.Context, "tokens in a window, BOS included")
	f.BoolVar(&s.KL, "kl", false, "also measure the KL divergence from the dense model on these windows")
	p := &s.Recipe
	f.StringVar(&p.Data, "recover", "", "train every model on the rows of this file, as mop recover does, and evaluate it again")
	f.StringVar(&p.Separator, "recover-split", "", "text between the documents of a text file that is trained on")
	f.IntVar(&p.Steps, "recover-steps", 0, "steps of the training, 0 = two epochs")
	f.IntVar(&p.Batch, "recover-batch", p.Batch, "examples in a step")
	f.IntVar(&p.MaxLength, "recover-max-length", p.MaxLength, "largest number of tokens of an example")
	f.Float64Var(&p.LearningRate, "recover-lr", p.LearningRate, "learning rate of the training")
	f.IntVar(&p.Rank, "recover-rank", p.Rank, "rank of the training's adapters; of a LLaVA 8 unless it is given")
	f.Float64Var(&p.Alpha, "recover-alpha", p.Alpha, "the adapters are scaled by alpha/rank; of a LLaVA 16 unless it is given")
	f.IntVar(&s.Protocol.In, "in", s.Protocol.In, "prompt tokens of the latency")
	f.IntVar(&s.Protocol.Out, "generate", s.Protocol.Out, "tokens to generate for the latency")
	f.IntVar(&s.Protocol.Batch, "batch", s.Protocol.Batch, "sequences that run together for the latency")
	f.IntVar(&s.Protocol.Runs, "runs", s.Protocol.Runs, "rounds of the latency")
	f.IntVar(&s.Protocol.Discard, "discard", s.Protocol.Discard, "rounds at the start that do not count")
	turnsFlag(f, &s.Protocol)
	latencyKVFlag(c, &kvType)
	f.IntVar(&s.Group, "group", s.Group, "most models that take turns in one process; the dense one is in every group")
	f.BoolVar(&skipLatency, "skip-latency", false, "leave the latency to a later run of the same command")
	return c
}

// copyFlags gives a command the shared flags of mop prune.
func copyFlags(c, from *cobra.Command) {
	for _, name := range sharedFlags {
		f := *from.Flags().Lookup(name)
		f.Usage = "of mop prune, for every row: " + f.Usage
		c.Flags().AddFlag(&f)
	}
}

// studyRows makes the rows of a study: the methods first, then those with flags of their
// own, then the finished models.
func studyRows(c *cobra.Command, o *options, model, methods string, rows, dirs []string) ([]study.Row, error) {
	var shared []string
	c.Flags().Visit(func(f *pflag.Flag) {
		for _, name := range sharedFlags {
			if f.Name == name {
				shared = append(shared, "--"+name+"="+f.Value.String())
			}
		}
	})
	var out []study.Row
	add := func(name string, flags []string) error {
		p, err := pruneOptions(o, model, append(shared[:len(shared):len(shared)], flags...))
		if err != nil {
			return fmt.Errorf("row %s: %w", name, err)
		}
		out = append(out, study.Row{Name: name, Flags: quoted(append(shared[:len(shared):len(shared)], flags...)), Prune: p})
		return nil
	}
	if methods != "" {
		for name := range strings.SplitSeq(methods, ",") {
			if err := add(name, methodFlags(name)); err != nil {
				return nil, err
			}
		}
	}
	for _, row := range rows {
		name, text, ok := strings.Cut(row, "=")
		words := shellwords.NewParser()
		words.SetExcludeSeparators(';', '&', '|', '<', '>') // there is no shell: nothing after them may be lost
		flags, err := words.Parse(text)
		if !ok || err != nil {
			return nil, usage("--row: want NAME=FLAGS, got %q", row)
		}
		if err := add(name, flags); err != nil {
			return nil, err
		}
	}
	given := map[string]int{}
	for _, list := range dirs {
		for pair := range strings.SplitSeq(list, ",") {
			name, dir, ok := strings.Cut(pair, "=")
			if !ok || name == "" || dir == "" {
				return nil, usage("--dirs: want NAME=DIR with commas between them, got %q", pair)
			}
			i, ok := given[name]
			if !ok {
				i = len(out)
				given[name] = i
				out = append(out, study.Row{Name: name, Flags: "finished models"})
			}
			models, err := modelDirs(dir)
			if err != nil {
				return nil, err
			}
			out[i].Models = append(out[i].Models, models...)
		}
	}
	return out, nil
}

// modelDirs are the models that a pattern such as ./searched/0.70-seed* matches, or the one of
// that name.
func modelDirs(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}, nil
	}
	if _, err := os.Stat(pattern); err == nil {
		return []string{pattern}, nil
	}
	matches, err := filepath.Glob(pattern)
	if err != nil {
		return nil, usage("--dirs: %v: %q", err, pattern)
	}
	matches = slices.DeleteFunc(matches, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "config.json"))
		return err != nil
	})
	if len(matches) == 0 {
		return nil, fmt.Errorf("--dirs: want models that match %q, got none", pattern)
	}
	return matches, nil
}

// methodFlags are the flags of mop prune for a method.
func methodFlags(name string) []string {
	return []string{"--method=" + name}
}

// pruneOptions are the options that flags of mop prune say.
func pruneOptions(o *options, model string, flags []string) (prune.Options, error) {
	var out prune.Options
	done := false
	c := pruneCommandCalling(o, func(_ *cobra.Command, p prune.Options) error {
		out, done = p, true
		return nil
	})
	c.SetHelpFunc(func(*cobra.Command, []string) {})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, name := range studyFlags {
			if c.Flags().Changed(name) {
				return usage("--%s belongs to the study, not to a row", name)
			}
		}
		for name, value := range map[string]string{"model": model, "out": "-"} {
			if err := c.Flags().Set(name, value); err != nil {
				return err
			}
		}
		return run(c, args)
	}
	c.SetArgs(flags)
	if err := c.Execute(); err != nil {
		return out, err
	}
	if !done {
		return out, usage("--help belongs to mop prune, not to a row")
	}
	return out, nil
}

// studyFlags are the flags of mop prune that a row cannot have. A model that was pruned to a
// share of the latency, or by a plan, can be a row by --dirs.
var studyFlags = []string{"model", "out", "targets", "target-latency", "plan", "resume", "recover", "recover-steps", "recover-split"}

// quoted writes arguments as a shell reads them.
func quoted(args []string) string {
	var out []string
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}
