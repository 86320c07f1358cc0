package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mop/internal/progress"
	"mop/prune/finetune"
	"mop/runtime/device"
)

func recoverCommand(o *options) *cobra.Command {
	p := finetune.Defaults()
	var targets string
	var asJSON bool
	c := &cobra.Command{
		Use:   "recover --model DIR --data FILE --out DIR",
		Short: "Train a pruned model to regain its quality, by low-rank adapters",
		Long: "Train a model, by low-rank adapters that are merged into it at the end, or in full. The\n" +
			"defaults are the recipe of MoP's released runs. A run may be stopped at any moment and gone\n" +
			"on with by --resume.",
		Example: "  mop recover --model ./pruned/0.40 --data alpaca.json --out ./recovered\n" +
			"  mop recover --model ./pruned/0.40 --data stories.txt --split '<|endoftext|>' --out ./recovered --steps 200 --log steps.jsonl",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "data", "out"); err != nil {
				return err
			}
			var err error
			if p.Targets, err = finetune.ParseTargets(targets); err != nil {
				return usage("%v", err)
			}
			p.Seed, p.Rounded = o.seed, o.activations == "bfloat16"
			if err := p.Check(); err != nil {
				return usage("%v", err)
			}
			for _, name := range []string{"rank", "alpha", "targets"} {
				if p.AdapterInit != "" && c.Flags().Changed(name) {
					return usage("recover: --adapter-init has its own --%s", name)
				}
			}
			if p.Device, err = o.openTrainer(); err != nil {
				return err
			}
			defer p.Device.Close()
			bar := &trainingBar{w: c.ErrOrStderr()}
			p.Progress = bar.tell
			r, err := finetune.Run(c.Context(), p)
			bar.end()
			if err != nil {
				return resumable(err)
			}
			w := c.OutOrStdout()
			if asJSON {
				return json.NewEncoder(w).Encode(struct {
					*finetune.Result
					TokensPerSecond float64 `json:"train_tps,omitempty"`
				}{r, r.TokensPerSecond})
			}
			_, err = fmt.Fprintf(w, "%s  %d steps, %d examples, %d rows skipped, %s trained parameters, loss %.4f -> %.4f\n",
				p.Out, r.Steps, r.Examples, len(r.Skipped), human(r.Trained), r.FirstLoss, r.LastLoss)
			return err
		},
	}
	o.activationsFlag(c)
	f := c.Flags()
	f.StringVar(&p.Model, "model", "", "model directory")
	f.StringVar(&p.Data, "data", "", "rows to train on: .json of {instruction, input, output}, .jsonl of these or of {text}, or a text file")
	f.StringVar(&p.Separator, "split", "", "text between a text file's documents")
	f.StringVar(&p.Out, "out", "", "directory for the trained model")
	f.IntVar(&p.Epochs, "epochs", p.Epochs, "times that the data is gone through")
	f.IntVar(&p.Steps, "steps", p.Steps, "end after this many steps, 0 = after the epochs")
	f.IntVar(&p.Rank, "rank", p.Rank, "rank of the adapters")
	f.Float64Var(&p.Alpha, "alpha", p.Alpha, "the adapters count alpha/rank")
	f.Float64Var(&p.Dropout, "dropout", p.Dropout, "share of an adapter's input that is left out")
	f.StringVar(&targets, "targets", "q,k,v,o,gate,up,down", "matrices that get an adapter")
	f.BoolVar(&p.Full, "full", false, "train every parameter, in float32, instead of adapters")
	f.BoolVar(&p.Recompute, "recompute", false, "keep less in memory: run each layer again for its gradients")
	f.IntVar(&p.Batch, "batch", p.Batch, "examples of a step")
	f.IntVar(&p.MaxLength, "max-length", p.MaxLength, "ids of an example")
	f.BoolVar(&p.Packing, "packing", false, "several examples in one pass, each still on its own")
	f.StringVar(&p.Average, "loss-average", p.Average, "examples: the mean of each example's mean; tokens: over all of a step")
	f.Float64Var(&p.LearningRate, "lr", p.LearningRate, "learning rate, falling in a straight line to 0")
	f.IntVar(&p.WarmUp, "warm-up", p.WarmUp, "steps in which the rate climbs to it")
	f.Float64Var(&p.MaxGradNorm, "clip", p.MaxGradNorm, "largest norm of the gradient, 0 = any")
	f.Float64Var(&p.Beta1, "beta1", p.Beta1, "AdamW: memory of the gradient")
	f.Float64Var(&p.Beta2, "beta2", p.Beta2, "AdamW: memory of its square")
	f.Float64Var(&p.Eps, "eps", p.Eps, "AdamW: added to the root")
	f.Float64Var(&p.WeightDecay, "decay", p.WeightDecay, "AdamW: weight decay")
	f.BoolVar(&p.NoShuffle, "no-shuffle", false, "keep the data's order")
	f.BoolVar(&p.Strict, "strict", false, "a bad row is an error, not skipped")
	f.StringVar(&p.AdapterInit, "adapter-init", "", "directory of a PEFT adapter to begin with")
	f.StringVar(&p.SaveAdapter, "save-adapter", "", "directory for the adapter, in PEFT's layout")
	f.StringVar(&p.Log, "log", "", "file for one JSON line a step")
	f.IntVar(&p.Every, "checkpoint-every", p.Every, "steps between checkpoints, 0 = none")
	f.BoolVar(&p.Resume, "resume", false, "go on with a run that was stopped")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// openTrainer starts a device that can train.
func (o *options) openTrainer() (device.Trainer, error) {
	dev, err := o.open()
	if err != nil {
		return nil, err
	}
	if t, ok := dev.(device.Trainer); ok {
		return t, nil
	}
	return nil, errors.Join(fmt.Errorf("--device %s: cannot train", dev.Capabilities().Name), dev.Close())
}

// trainingBar shows a training's progress: a bar on a terminal, elsewhere a line
// now and then.
type trainingBar struct {
	w    io.Writer
	of   string // "NAME: ", where several are trained
	bar  *progressbar.ProgressBar
	next time.Time
}

// quietFor is how long a log stays silent between two lines of progress.
const quietFor = 10 * time.Second

func (b *trainingBar) tell(u progress.Update) {
	if u.Done == 1 {
		b.end()
	}
	if f, ok := b.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if b.bar == nil {
			b.bar = progressbar.NewOptions(u.Total, progressbar.OptionSetWriter(b.w), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
		}
		b.bar.Describe(b.of + u.Detail)
		b.bar.Set(u.Done)
		return
	}
	if now := time.Now(); !now.Before(b.next) {
		if !b.next.IsZero() {
			fmt.Fprintf(b.w, "%sstep %d of %d, %s, %v left\n", b.of, u.Done, u.Total, u.Detail, u.Left.Round(time.Second))
		}
		b.next = now.Add(quietFor)
	}
}

func (b *trainingBar) end() {
	if b.bar != nil {
		b.bar.Finish()
		b.bar = nil
	}
}
