package study

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mop/bench/report"
	"mop/internal/files"
	"mop/internal/progress"
	"mop/prune"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// describe reads what is known of a model without running it. base is the dense model's
// description; nil = it is the dense model.
func describe(dir string, base *Description) (Description, error) {
	src, err := checkpoint.Open(dir)
	if err != nil {
		return Description{}, err
	}
	defer src.Close()
	c := src.Config()
	if err := checkpoint.CheckFinite(src); err != nil {
		return Description{}, fmt.Errorf("%s: %w", dir, err)
	}
	sum, err := checkpoint.Checksum(src)
	if err != nil {
		return Description{}, err
	}
	text, err := config.Marshal(c)
	if err != nil {
		return Description{}, err
	}
	d := Description{ID: shortSum(sum + string(text)), Dir: dir, Params: c.Params(),
		Shape: shortSum(fmt.Sprint(c.Layers, c.HiddenSize, c.VocabSize, c.Tied, open.StoredType(c)))}
	if base == nil {
		d.Layers, err = report.Layers(c.Layers, nil)
		return d, err
	}
	d.Compression = 1 - float64(d.Params)/float64(base.Params)
	p, err := loadPlan(dir)
	if err != nil {
		return d, err
	}
	if p == nil {
		d.Layers, err = report.Layers(c.Layers, nil)
		return d, err
	}
	var from []int
	for _, l := range p.Layers {
		from = append(from, l.From)
	}
	d.Path = pathOf(p)
	if d.Layers, err = report.Layers(c.Layers, from); err != nil {
		err = fmt.Errorf("%s: its plan.json is of another model: %w", dir, err)
	}
	return d, err
}

// loadPlan reads a model's plan, nil for a model of another program, which has none.
func loadPlan(dir string) (*plan.Plan, error) {
	p, err := plan.Load(filepath.Join(dir, "plan.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return p, err
}

// pathOf writes a plan's steps as letters.
func pathOf(p *plan.Plan) string {
	var b strings.Builder
	for _, step := range p.Steps[:min(p.Step, len(p.Steps))] {
		if step.Kind == plan.Depth {
			b.WriteByte('L')
		} else {
			b.WriteByte('G')
		}
	}
	return b.String()
}

// prune makes the models of all rows, seed after seed.
func (s *study) prune(ctx context.Context) error {
	for _, seed := range s.seeds() {
		for _, r := range s.Rows {
			var err error
			if len(r.Models) > 0 {
				err = s.describeModels(r, seed)
			} else {
				err = s.pruneRow(ctx, r, seed)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	return nil
}

// describeModels adds the models that a row was given. Those of one goal are of several seeds.
// A model that is alone with its goal stands for every seed of the study, as one does that a
// row has pruned and that no seed changes.
func (s *study) describeModels(r Row, seed uint64) error {
	if seed != s.Seed {
		return nil
	}
	var models []instance
	of := map[goal]int{}
	for _, dir := range r.Models {
		d, err := describe(dir, &s.dense)
		if err != nil {
			return err
		}
		m := instance{Row: r.Name, Flags: r.Flags, Seed: seed, Description: d}
		p, err := loadPlan(dir)
		if err != nil {
			return err
		}
		if p != nil {
			m.Seed, m.goal = p.Seed, goalOf(p, d.Compression)
		}
		of[m.goal]++
		models = append(models, m)
	}
	for _, m := range models {
		if of[m.goal] > 1 || m.goal == (goal{}) || s.Seeds == 1 {
			s.models = append(s.models, m)
			continue
		}
		for _, m.Seed = range s.seeds() {
			s.models = append(s.models, m)
		}
	}
	return nil
}

// nearTarget is how far a finished model's compression is from its plan's target at most.
const nearTarget = 0.05

// goalOf is what a finished model was to reach. Its plan says whether the target is a share of
// the latency (mop prune --target-latency, mop search), a share of the bytes that are kept
// (mop search --target-bytes), or a compression.
func goalOf(p *plan.Plan, compression float64) goal {
	_, shareOfLatency := p.Settings["target"].(string)
	switch objective := p.Settings["objective"]; {
	case objective == "latency" || shareOfLatency:
		return goal{LatencyTarget: p.Target}
	case objective == "bytes":
		return goal{Target: math.Round(1e6*(1-p.Target)) / 1e6}
	case math.Abs(p.Target-compression) < nearTarget:
		return goal{Target: p.Target}
	}
	return goal{}
}

// pruneRow prunes the model by a row to all targets that are not finished yet. A row that
// does not depend on the seed is pruned for the first seed only.
func (s *study) pruneRow(ctx context.Context, r Row, seed uint64) error {
	first := seed
	if !dependsOnSeed(r.Prune) {
		first = s.Seed
	}
	var missing []float64
	for _, target := range s.Targets {
		if s.pruned(r.Name, first, target) == nil {
			missing = append(missing, target)
		}
	}
	if len(missing) > 0 {
		start := time.Now()
		if err := s.runPrune(ctx, r, first, missing); err != nil {
			return err
		}
		for i, target := range missing {
			dir := prune.TargetDir(s.prunedDir(r.Name, first), target)
			d, err := describe(dir, &s.dense)
			if err != nil {
				return err
			}
			if d.Dir, err = filepath.Rel(s.Out, dir); err != nil {
				return err
			}
			c := cell{Pruned: &prunedCell{r.Name, r.Flags, first, target, d}}
			if err := s.finish(c, start); err != nil {
				return err
			}
			if i == 0 {
				start = time.Now() // the others were made meanwhile
			}
		}
	}
	for _, target := range s.Targets {
		d := s.pruned(r.Name, first, target).Description
		d.Dir = filepath.Join(s.Out, d.Dir)
		s.models = append(s.models, instance{r.Name, r.Flags, goal{Target: target}, seed, d})
	}
	return nil
}

// prunedDir is the directory of a row's models.
func (s *study) prunedDir(row string, seed uint64) string {
	return filepath.Join(s.Out, "pruned", row, strconv.FormatUint(seed, 10))
}

// runPrune prunes the model by a row.
func (s *study) runPrune(ctx context.Context, r Row, seed uint64, targets []float64) error {
	_, err := prune.Run(ctx, s.pruneOptions(r, seed, targets))
	return err
}

func (s *study) pruneOptions(r Row, seed uint64, targets []float64) prune.Options {
	o := r.Prune
	o.Model, o.Out, o.Targets, o.Seed, o.Device, o.Resume = s.Model, s.prunedDir(r.Name, seed), targets, seed, s.device, true
	o.Progress = s.progress(r.Name)
	return o
}

// checkRows refuses rows that cannot be pruned, and models that cannot be read or have another
// tokenizer, before hours of evaluation. Rows that are finished need their texts no more.
func (s *study) checkRows() error {
	for _, r := range s.Rows {
		for _, dir := range r.Models {
			if err := s.checkModel(dir); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
		var missing []float64
		for _, target := range s.Targets {
			if len(r.Models) == 0 && s.pruned(r.Name, s.Seed, target) == nil {
				missing = append(missing, target)
			}
		}
		if len(missing) > 0 {
			if err := prune.Check(s.pruneOptions(r, s.Seed, missing)); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	return nil
}

// checkModel refuses a finished model that cannot be compared with the dense one.
func (s *study) checkModel(dir string) error {
	src, err := checkpoint.Open(dir)
	if err != nil {
		return err
	}
	vocab := src.Config().VocabSize
	src.Close()
	if vocab != s.vocab {
		return fmt.Errorf("%s has a vocabulary of %d, the dense model one of %d: perplexities of two tokenizers cannot be compared", dir, vocab, s.vocab)
	}
	t, err := tokenizer.Open(dir)
	if err != nil {
		return err
	}
	if d := s.tokens.Difference(t); d != "" {
		return fmt.Errorf("%s and %s have different tokenizers: %s: perplexities of two tokenizers cannot be compared", s.Model, dir, d)
	}
	_, err = loadPlan(dir)
	return err
}

// restore makes a pruned model again whose directory was removed.
func (s *study) restore(ctx context.Context, m instance) error {
	if _, err := files.Check(filepath.Join(m.Dir, "config.json")); err == nil {
		return nil
	}
	for _, r := range s.Rows {
		if r.Name == m.Row && len(r.Models) == 0 {
			for _, seed := range s.seeds() {
				if prune.TargetDir(s.prunedDir(r.Name, seed), m.Target) == m.Dir {
					return s.runPrune(ctx, r, seed, []float64{m.Target})
				}
			}
		}
	}
	return fmt.Errorf("%s: the model's directory is missing", m.Dir)
}

// random is the name of the score, the criterion and the method that are.
const random = "random"

// dependsOnSeed reports whether another seed can give another model.
func dependsOnSeed(o prune.Options) bool {
	for _, name := range []string{o.Score, o.HeadScore, o.NeuronScore} {
		if name == random {
			return true
		}
	}
	return o.Method == random || o.Sample || o.Criterion == random || o.Recovery.Short > 0
}

// progress names the model or row that an update is about.
func (s *study) progress(name string) progress.Func {
	return func(u progress.Update) {
		u.Phase = name + ": " + u.Phase
		s.Progress.Report(u)
	}
}
