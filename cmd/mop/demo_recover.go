package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"mop/bench/demo"
	"mop/prune/finetune"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/tokenizer"
)

// recoveryResult is what training brings: perplexities on the same held-out stories,
// before and after the same training of the dense model and of the smallest one.
type recoveryResult struct {
	dense, denseTrained float64
	cut, cutTrained     float64
}

// share is how much of what pruning cost comes back: the training's gain on the
// cut model over the distance to the dense one as it was.
func (r recoveryResult) share() float64 { return (r.cut - r.cutTrained) / (r.cut - r.dense) }

func (r recoveryResult) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "\n| model | perplexity | after the same training |\n|---|---:|---:|\n| dense | %.3f | %.3f |\n| MoP 40 %% | %.3f | %.3f |\n\n"+
		"Training gives back %.0f %% of what pruning cost.\n", r.dense, r.denseTrained, r.cut, r.cutTrained, 100*r.share())
	return err
}

// demoTraining is a short training by adapters, on stories of their own.
func demoTraining() finetune.Options {
	t := finetune.Defaults()
	t.Separator, t.Steps, t.Rank, t.Alpha, t.Dropout, t.LearningRate, t.Packing, t.Every = demo.Separator, 40, 8, 16, 0, 3e-3, true, 0
	return t
}

// regain trains the dense model and the cut one alike, and evaluates what comes
// out on the documents.
func (o *options) regain(ctx context.Context, dense, cut, text, out string, docs []string, bar *trainingBar) (r recoveryResult, err error) {
	for _, m := range []struct {
		dir, name string
		after     *float64
	}{{cut, "0.40", &r.cutTrained}, {dense, "dense", &r.denseTrained}} {
		t := demoTraining()
		t.Model, t.Data, t.Out, t.Seed, t.Progress = m.dir, filepath.Join(text, "recovery.txt"), filepath.Join(out, m.name), o.seed, bar.tell
		bar.of = "training " + m.name + ": "
		if t.Device, err = o.openTrainer(); err != nil {
			return r, err
		}
		_, err := finetune.Run(ctx, t)
		t.Device.Close()
		if err != nil {
			return r, err
		}
		if *m.after, err = o.perplexity(ctx, t.Out, docs); err != nil {
			return r, err
		}
	}
	return r, nil
}

// perplexity of a model on documents, each on its own.
func (o *options) perplexity(ctx context.Context, dir string, docs []string) (float64, error) {
	m, err := o.load(dir)
	if err != nil {
		return 0, err
	}
	defer m.close()
	tok, err := tokenizer.Open(dir)
	if err != nil {
		return 0, err
	}
	w, err := dataset.Windows(tok, docs, m.Config.MaxPositions, 0, 0)
	if err != nil {
		return 0, err
	}
	q, err := metric.Perplexity(ctx, m.Model, w, nil)
	return q.PPL, err
}
