package demo

import (
	"context"
	"path/filepath"

	"mop/bench/report"
	"mop/internal/build"
	"mop/prune"
	"mop/prune/finetune"
	"mop/prune/plan"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// evaluatedStories is the number of held-out stories that a perplexity is computed on:
// enough to tell the models apart, few enough for two minutes in all.
const evaluatedStories = 40

// evaluate computes the perplexities of the dense model and the pruned ones, and trains
// the dense model and the smallest one alike.
func evaluate(ctx context.Context, o Options, model, text string) ([]report.Quality, error) {
	stories, err := dataset.Documents(filepath.Join(text, "evaluation.txt"), Separator)
	if err != nil {
		return nil, err
	}
	stories = stories[:min(len(stories), evaluatedStories)]
	models, dirs := []report.Quality{{Model: "dense"}}, []string{model}
	for _, t := range targets() {
		models, dirs = append(models, report.Quality{Model: label(t)}), append(dirs, prune.TargetDir(prunedDir(o.Out), t))
	}
	for i, dir := range dirs {
		if err := describe(&models[i], dir, i > 0); err != nil {
			return nil, err
		}
		models[i].Compression = 1 - float64(models[i].Params)/float64(models[0].Params)
		if models[i].PPL, err = perplexity(ctx, o, dir, stories); err != nil {
			return nil, err
		}
	}
	for _, i := range []int{len(dirs) - 1, 0} {
		name := "dense"
		if i > 0 {
			name = filepath.Base(dirs[i])
		}
		out := filepath.Join(recoveredDir(o.Out), name)
		if err := train(ctx, o, models[i].Model, dirs[i], text, out); err != nil {
			return nil, err
		}
		ppl, err := perplexity(ctx, o, out, stories)
		if err != nil {
			return nil, err
		}
		models[i].PPLTrained = &ppl
	}
	return models, nil
}

// describe fills in a model's size and layers.
func describe(q *report.Quality, dir string, pruned bool) error {
	c, err := open.Config(dir)
	if err != nil {
		return err
	}
	var from []int
	if pruned {
		p, err := plan.Load(filepath.Join(dir, "plan.json"))
		if err != nil {
			return err
		}
		for _, l := range p.Layers {
			from = append(from, l.From)
		}
	}
	q.Series, q.Params, q.Commit = "MoP", c.Params(), build.Commit()
	q.Layers, err = report.Layers(c.Layers, from)
	return err
}

// train is a short training of adapters, on stories that nothing is evaluated on.
func train(ctx context.Context, o Options, name, model, text, out string) error {
	t := finetune.Defaults()
	t.Separator, t.Packing, t.Every = Separator, true, 0
	t.Steps, t.Batch, t.MaxLength = 24, 12, 256
	t.Rank, t.Alpha, t.Dropout, t.LearningRate = 8, 16, 0, 3e-3
	t.Model, t.Data, t.Out, t.Seed, t.Device = model, filepath.Join(text, "recovery.txt"), out, o.Seed, o.Device
	t.Progress = o.progress(name + " ")
	_, err := finetune.Run(ctx, t)
	return err
}

// perplexity of a model on documents, each in windows of its own.
func perplexity(ctx context.Context, o Options, dir string, documents []string) (float64, error) {
	m, err := open.LoadModel(o.Device, dir, open.SourceOptions{}, open.ModelOptions{})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	tok, err := tokenizer.Open(dir)
	if err != nil {
		return 0, err
	}
	w, err := dataset.Windows(tok, documents, m.Config.MaxPositions, 0, 0)
	if err != nil {
		return 0, err
	}
	r, err := metric.Perplexity(ctx, m.Model, w, nil)
	return r.PPL, err
}
