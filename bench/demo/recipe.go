package demo

import (
	"context"
	"path/filepath"
	"time"

	"mop/bench/compare"
	"mop/prune"
	"mop/prune/finetune"
	"mop/prune/plan"
	"mop/runtime/open"
)

const (
	// latencyPreset is the model whose latency is measured, with random weights: small
	// enough for two minutes, large enough that reading its weights takes most of a
	// token's time. The trained model is too small for that.
	latencyPreset = "preset:smollm2-135m"
	// latencyPath is the path of MoP's first released LLaMA-2 run: L removes a layer, G
	// heads and neurons in every layer.
	latencyPath = "LGGLLLGGLLGLGLLGGL"
	// latencyPrecision is the width of the speed-ups' intervals at which no more rounds are
	// measured, as a share; latencyLimit ends the rounds on a machine that is too busy.
	latencyPrecision = 0.05
	latencyLimit     = 25 * time.Second
)

// recipe says how a model is pruned, trained and measured.
type recipe struct {
	targets            []float64 // compressions, as shares of all parameters
	prompts            int       // of calibration
	windows, context   int       // of the criterion
	documents          int       // that perplexities are computed on
	evaluationContext  int       // tokens of their windows; 0 = the model's maximum
	trainAll           bool      // train every pruned model and not only the smallest
	preset             bool      // measure the latency of latencyPreset and not the models'
	steps, batch, rank int       // of the training
	alpha, rate        float64
	maxLength          int
}

// carriedModel is the recipe for the model that the package carries: enough documents to
// tell the models apart, few enough for two minutes in all.
func carriedModel() recipe {
	return recipe{targets: []float64{0.2, 0.3, 0.4}, prompts: 24, windows: 8, context: 128, documents: 40,
		preset: true, steps: 24, batch: 12, rank: 8, alpha: 16, rate: 3e-3, maxLength: 256}
}

// realModel is the recipe for a model of some hundred million parameters: less than
// fifteen minutes for SmolLM2-135M on two cores.
func realModel() recipe {
	return recipe{targets: []float64{0.2, 0.3}, prompts: 16, windows: 8, context: 128, documents: 10, evaluationContext: 512,
		trainAll: true, steps: 20, batch: 4, rank: 16, alpha: 32, rate: 1e-3, maxLength: 192}
}

// prune prunes the model to the targets.
func (r *recipe) prune(ctx context.Context, o Options) error {
	_, err := prune.Run(ctx, prune.Options{Model: o.Model, Out: prunedDir(o.Out), Device: o.Device, Targets: r.targets,
		Criterion: "kl", Seed: o.Seed, Calibration: filepath.Join(o.Text, "calibration.jsonl"), Prompts: r.prompts,
		Text: filepath.Join(o.Text, "windows.txt"), Separator: Separator, Windows: r.windows, Context: r.context, Progress: o.progress("")})
	return err
}

// train is a short training of adapters, on texts that nothing is evaluated on.
func (r *recipe) train(ctx context.Context, o Options, name, model, out string) error {
	t := finetune.Defaults()
	t.Separator, t.Packing, t.Every = Separator, true, 0
	t.Steps, t.Batch, t.MaxLength = r.steps, r.batch, r.maxLength
	t.Rank, t.Alpha, t.Dropout, t.LearningRate = r.rank, r.alpha, 0, r.rate
	t.Model, t.Data, t.Out, t.Seed, t.Device = model, filepath.Join(o.Text, "recovery.txt"), out, o.Seed, o.Device
	t.Progress = o.progress(name + " ")
	_, err := finetune.Run(ctx, t)
	return err
}

// models lists the models whose latency is measured, the dense one first.
func (r *recipe) models(o Options) ([]compare.Model, error) {
	if !r.preset {
		out := []compare.Model{compare.Checkpoint("dense", o.Model, open.SourceOptions{})}
		for _, t := range r.targets {
			out = append(out, compare.Checkpoint(label(t), prune.TargetDir(prunedDir(o.Out), t), open.SourceOptions{}))
		}
		return out, nil
	}
	base, err := open.Config(latencyPreset)
	if err != nil {
		return nil, err
	}
	kinds, err := plan.ParseSequence(latencyPath)
	if err != nil {
		return nil, err
	}
	p, err := plan.DryRun(base, plan.Options{}, plan.Sequence(kinds), 0)
	if err != nil {
		return nil, err
	}
	var steps []int
	for _, t := range r.targets {
		steps = append(steps, plan.Nearest(p.Compressions(), t))
	}
	models, err := compare.Path(latencyPreset, base, p, steps, open.SourceOptions{Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	models[0].Name = "dense"
	for i, t := range r.targets {
		models[i+1].Name = label(t)
	}
	return models, nil
}
