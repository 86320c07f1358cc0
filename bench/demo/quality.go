package demo

import (
	"context"
	"path/filepath"

	"mop/bench/report"
	"mop/internal/build"
	"mop/prune"
	"mop/prune/plan"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// evaluate computes the perplexities of the dense model and the pruned ones, and trains
// the dense model and the smallest one, or all, alike.
func (r *recipe) evaluate(ctx context.Context, o Options) ([]report.Quality, error) {
	stories, err := dataset.Documents(filepath.Join(o.Text, "evaluation.txt"), Separator)
	if err != nil {
		return nil, err
	}
	stories = stories[:min(len(stories), r.documents)]
	models, dirs := []report.Quality{{Model: "dense"}}, []string{o.Model}
	for _, t := range r.targets {
		models, dirs = append(models, report.Quality{Model: label(t)}), append(dirs, prune.TargetDir(prunedDir(o.Out), t))
	}
	for i, dir := range dirs {
		if err := describe(&models[i], dir, i > 0); err != nil {
			return nil, err
		}
		models[i].Compression = 1 - float64(models[i].Params)/float64(models[0].Params)
		if models[i].PPL, err = r.perplexity(ctx, o, dir, stories); err != nil {
			return nil, err
		}
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		if i > 0 && i < len(dirs)-1 && !r.trainAll {
			continue
		}
		name := "dense"
		if i > 0 {
			name = filepath.Base(dirs[i])
		}
		out := filepath.Join(recoveredDir(o.Out), name)
		if err := r.train(ctx, o, models[i].Model, dirs[i], out); err != nil {
			return nil, err
		}
		ppl, err := r.perplexity(ctx, o, out, stories)
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

// perplexity of a model on documents, each in windows of its own.
func (r *recipe) perplexity(ctx context.Context, o Options, dir string, documents []string) (float64, error) {
	m, err := open.LoadModel(o.Device, dir, open.SourceOptions{}, open.ModelOptions{})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	size := m.Config.MaxPositions
	if r.evaluationContext > 0 {
		size = min(size, r.evaluationContext)
	}
	tok, err := tokenizer.Open(dir)
	if err != nil {
		return 0, err
	}
	w, err := dataset.Windows(tok, documents, size, 0, 0)
	if err != nil {
		return 0, err
	}
	p, err := metric.Perplexity(ctx, m.Model, w, nil)
	return p.PPL, err
}
