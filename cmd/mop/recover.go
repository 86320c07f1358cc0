package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mop/internal/build"
	"mop/prune/finetune"
	"mop/runtime/device"
	"mop/runtime/open"
)

// recipeDefaults sets the rank and the alpha of the model's recipe where their flags are not
// given. A model that cannot be read is an error of the run.
func recipeDefaults(c *cobra.Command, model string, o *finetune.Options, rank, alpha string) {
	m, err := open.Config(model)
	if err != nil {
		return
	}
	d := finetune.DefaultsFor(m)
	if !c.Flags().Changed(rank) {
		o.Rank = d.Rank
	}
	if !c.Flags().Changed(alpha) {
		o.Alpha = d.Alpha
	}
}

func recoverCommand(o *options) *cobra.Command {
	p := finetune.Defaults()
	var targets string
	var asJSON bool
	c := &cobra.Command{
		Use:   "recover --model DIR --data FILE --out DIR",
		Short: "Train a pruned model with low-rank adapters, to recover its quality",
		Long: "Train a model, either with low-rank adapters that are merged into it at the end, or in\n" +
			"full. The defaults are the recipe of MoP's released runs. A run may be stopped at any\n" +
			"moment and continued by --resume.",
		Example: "  mop recover --model ./pruned/0.40 --data alpaca.json --out ./recovered\n" +
			"  mop recover --model ./pruned/0.40 --data stories.txt --split '<|endoftext|>' --out ./recovered --steps 200 --log steps.jsonl",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "data", "out"); err != nil {
				return err
			}
			var err error
			if p.Targets, err = finetune.ParseTargets(targets); err != nil {
				return usage("--%v", err)
			}
			p.Seed, p.Rounded = o.seed, o.weights.Rounded()
			for _, name := range []string{"rank", "alpha", "targets"} {
				if p.AdapterInit != "" && c.Flags().Changed(name) {
					return usage("recover: --%s is given by the adapter of --adapter-init", name)
				}
			}
			recipeDefaults(c, p.Model, &p, "rank", "alpha")
			p.OpenDevice = func() (device.Device, error) { return o.openTrainer() }
			bar := newBars(c.ErrOrStderr())
			p.Progress = bar.show
			r, err := finetune.Run(c.Context(), p)
			bar.end()
			if err != nil {
				if wrong := (finetune.OptionsError{}); errors.As(err, &wrong) {
					return usage("--%v", wrong)
				}
				return resumable(err)
			}
			w := c.OutOrStdout()
			if asJSON {
				return json.NewEncoder(w).Encode(struct {
					*finetune.Result
					TokensPerSecond float64 `json:"train_tps,omitempty"`
					Commit          string  `json:"commit"`
				}{r, r.TokensPerSecond, build.Commit()})
			}
			_, err = fmt.Fprintf(w, "%s  %d steps, %d examples, %d rows skipped, %s trained parameters, loss %.4f -> %.4f\n",
				p.Out, r.Steps, r.Examples, len(r.Skipped), human(r.Trained), r.FirstLoss, r.LastLoss)
			return err
		},
	}
	o.activationsFlag(c)
	f := c.Flags()
	f.StringVar(&p.Model, "model", "", "model directory")
	f.StringVar(&p.Data, "data", "", "rows to train on: JSON or JSON lines of instructions, texts, prompts with completions or messages; or a text")
	dataFlags(c, &p.Special, &p.ChatTemplate)
	f.StringVar(&p.Separator, "split", "", "text between a text file's documents")
	f.StringVar(&p.Out, "out", "", "directory for the trained model")
	hfTypeFlag(c, &p.HFType)
	f.IntVar(&p.Epochs, "epochs", p.Epochs, "number of passes over the data")
	f.IntVar(&p.Steps, "steps", p.Steps, "end after this many steps, 0 = after the epochs")
	f.IntVar(&p.Rank, "rank", p.Rank, "rank of the adapters; of a LLaVA 8 unless it is given")
	f.Float64Var(&p.Alpha, "alpha", p.Alpha, "the adapters are scaled by alpha/rank; of a LLaVA 16 unless it is given")
	f.Float64Var(&p.Dropout, "dropout", p.Dropout, "dropout probability of an adapter's input")
	f.StringVar(&targets, "targets", "q,k,v,o,gate,up,down", "matrices that get an adapter")
	f.BoolVar(&p.Full, "full", false, "train every parameter, in float32, instead of adapters")
	f.BoolVar(&p.Recompute, "recompute", false, "save memory: compute each layer's activations again for its gradients")
	f.IntVar(&p.Batch, "batch", p.Batch, "examples in a step")
	f.IntVar(&p.MaxLength, "max-length", p.MaxLength, "largest number of tokens of an example")
	f.BoolVar(&p.Packing, "packing", false, "put several examples into one pass; they do not attend to each other")
	f.StringVar(&p.Average, "loss-average", p.Average, "examples: mean over examples of each one's mean; tokens: mean over all tokens of a step")
	f.Float64Var(&p.LearningRate, "lr", p.LearningRate, "peak learning rate; it decays linearly to 0")
	f.IntVar(&p.WarmUp, "warm-up", p.WarmUp, "steps in which the learning rate rises to its peak")
	f.Float64Var(&p.MaxGradNorm, "clip", p.MaxGradNorm, "the gradient is clipped to this norm, 0 = never")
	f.Float64Var(&p.Beta1, "beta1", p.Beta1, "AdamW: decay of the first moment")
	f.Float64Var(&p.Beta2, "beta2", p.Beta2, "AdamW: decay of the second moment")
	f.Float64Var(&p.Eps, "eps", p.Eps, "AdamW: added to the denominator")
	f.Float64Var(&p.WeightDecay, "decay", p.WeightDecay, "AdamW: weight decay")
	f.BoolVar(&p.NoShuffle, "no-shuffle", false, "keep the order of the data")
	f.BoolVar(&p.Strict, "strict", false, "fail at a bad row instead of skipping it")
	f.StringVar(&p.AdapterInit, "adapter-init", "", "directory of a PEFT adapter to start from")
	f.StringVar(&p.SaveAdapter, "save-adapter", "", "directory to save the adapter to, in PEFT's layout")
	f.StringVar(&p.Log, "log", "", "file for a JSON line for each step")
	f.IntVar(&p.Every, "checkpoint-every", p.Every, "steps between checkpoints, 0 = none")
	f.BoolVar(&p.Resume, "resume", false, "continue a run that was stopped")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
