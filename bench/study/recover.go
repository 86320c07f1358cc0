package study

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mop/prune/finetune"
)

// recoverAll trains all models alike, the dense one among them, and evaluates the results.
func (s *study) recoverAll(ctx context.Context) error {
	if !s.Recover {
		return nil
	}
	for _, m := range append([]instance{s.denseInstance()}, s.models...) {
		if err := s.recover(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// recover trains a model and evaluates the result, unless that is done. The trained model is
// removed afterwards.
func (s *study) recover(ctx context.Context, m instance) error {
	name := fmt.Sprintf("%s-recovered-%d", m.ID, m.Seed)
	dir, label := filepath.Join(s.Out, "recovered", name), m.label()+", recovered"
	if s.quality(m.ID, s.recipe, m.Seed) != nil {
		return os.RemoveAll(dir) // a kill may have left it
	}
	if err := s.restore(ctx, m); err != nil {
		return err
	}
	start := time.Now()
	o := s.Recipe
	o.Model, o.Tokenizer, o.Out, o.Seed, o.Device, o.Resume, o.Progress = m.Dir, s.Model, dir, m.Seed, s.trainer, true, s.progress(label)
	if _, err := finetune.Run(ctx, o); err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	q, err := s.measureQuality(ctx, label, dir, name)
	if err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	if err := s.finish(cell{Quality: &qualityCell{m.ID, s.recipe, m.Seed, q}}, start); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
