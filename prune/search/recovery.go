package search

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"mop/internal/progress"
	"mop/prune/finetune"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// finalists is the number of candidates that are fine-tuned before the last choice.
const finalists = 4

// chooseRecovered fine-tunes the best of all genomes that were judged on all windows for a
// few steps each, and returns the one that is then the nearest to the base: training may
// change their order. The training is discarded.
func (j *job) chooseRecovered(ctx context.Context, best genome) (genome, error) {
	candidates := slices.Clone(j.judged)
	slices.SortStableFunc(candidates, func(a, b judged) int { return cmp.Compare(a.kl, b.kl) })
	candidates = candidates[:min(finalists, len(candidates))]
	least := 0.0
	for i, c := range candidates {
		key := "recovered kl " + c.key()
		kl, ok := j.own.values[key]
		if !ok {
			var err error
			if kl, err = j.recoveredDivergence(ctx, c.genome); err != nil {
				return best, fmt.Errorf("short recovery: %w", err)
			}
			if err := j.own.add(key, kl); err != nil {
				return best, err
			}
		}
		if i == 0 || kl < least {
			best, least = c.genome, kl
		}
		j.Progress.Report(progress.Update{Phase: "candidates after a short recovery", Done: i + 1, Total: len(candidates), Detail: fmt.Sprintf("KL %.4f", kl)})
	}
	return best, nil
}

// recoveredDivergence is the mean KL divergence of a genome's model on all windows after a
// short training.
func (j *job) recoveredDivergence(ctx context.Context, g genome) (float64, error) {
	dir := filepath.Join(j.jobDir(j.target), "candidate")
	trained := dir + "-trained"
	remove := func() error {
		for _, d := range []string{dir, trained, trained + ".training"} { // a stopped search may have left them
			if err := os.RemoveAll(d); err != nil {
				return err
			}
		}
		return nil
	}
	if err := remove(); err != nil {
		return 0, err
	}
	defer remove()
	src, err := newMemorySource(j.base, j.state(g).Layers, j.refits)
	if err != nil {
		return 0, err
	}
	var specs []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(src.Config()) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return 0, err
		}
		specs = append(specs, checkpoint.Copy(t))
	}
	if err := checkpoint.Save(dir, src.Config(), specs, checkpoint.SaveOptions{}); err != nil {
		return 0, err
	}
	o := j.Recipe
	o.Model, o.Out, o.Tokenizer, o.Device, o.Seed = dir, trained, j.Model, j.dev, j.Seed
	o.Steps, o.Every, o.Log, o.Temporary = j.Short, 0, "", true
	if _, err := finetune.Run(ctx, o); err != nil {
		return 0, err
	}
	result, err := checkpoint.Open(trained)
	if err != nil {
		return 0, err
	}
	defer result.Close()
	m, err := model.Load(j.dev, result)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	return j.divergenceOf(ctx, m, j.Windows, nil)
}

// divergenceOf is the mean KL divergence of a model from the base on the first windows of
// the text. prefixes may be nil.
func (r *run) divergenceOf(ctx context.Context, m *model.Model, windows int, prefixes metric.Prefixes) (float64, error) {
	sum, n := 0.0, 0
	err := metric.CompareLogits(ctx, r.reference, m, r.windows[:windows], prefixes, func(d device.Divergence) {
		sum += d.KL
		n++
	})
	return sum / float64(max(n, 1)), err
}
