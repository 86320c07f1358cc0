package study

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mop/bench/tasks/zeroshot"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// denseInstance is the dense model as a row.
func (s *study) denseInstance() instance {
	return instance{Row: denseName, Seed: s.Seed, Description: s.dense}
}

func (s *study) evaluateDense(ctx context.Context) error { return s.evaluate(ctx, s.denseInstance()) }

// evaluateAll evaluates the models as they were pruned.
func (s *study) evaluateAll(ctx context.Context) error {
	for _, m := range s.models {
		if err := s.evaluate(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// evaluate evaluates a model, unless that is done.
func (s *study) evaluate(ctx context.Context, m instance) error {
	if s.quality(m.ID, "", 0) != nil {
		return nil
	}
	if err := s.restore(ctx, m); err != nil {
		return err
	}
	start := time.Now()
	q, err := s.measureQuality(ctx, m.label(), m.Dir, m.ID)
	if err != nil {
		return fmt.Errorf("%s: %w", m.label(), err)
	}
	return s.finish(cell{Quality: &qualityCell{ID: m.ID, Quality: q}}, start)
}

// measureQuality evaluates the model of a directory. The answers to the tasks' questions are
// kept in a file of a name.
func (s *study) measureQuality(ctx context.Context, label, dir, name string) (q Quality, err error) {
	m, err := open.LoadModel(s.device, dir, open.SourceOptions{}, open.ModelOptions{})
	if err != nil {
		return q, err
	}
	defer m.Close()
	if s.Text != "" {
		if err := s.compareOnText(ctx, label, m, &q); err != nil {
			return q, err
		}
	}
	if len(s.Tasks) == 0 {
		return q, nil
	}
	log := filepath.Join(s.Out, "answers", name+".jsonl")
	if err := os.MkdirAll(filepath.Dir(log), 0o777); err != nil {
		return q, err
	}
	r, err := zeroshot.Run(ctx, m, zeroshot.Options{Tasks: s.Tasks, Data: s.Data, Limit: s.Limit, BOS: s.BOS, Log: log, Resume: true, Progress: s.progress(label)})
	if err != nil {
		return q, err
	}
	q.BOS, q.Tasks, q.Average = r.BOS, r.Tasks, &r.Average
	q.Answers, err = readAnswers(log)
	return q, err
}

// compareOnText computes the perplexity and the KL divergence over the first windows of the
// text.
func (s *study) compareOnText(ctx context.Context, label string, m *open.Model, q *Quality) error {
	w, err := s.windows(m)
	if err != nil {
		return err
	}
	progress := s.progress(label)
	ppl, err := metric.Perplexity(ctx, m.Model, w, progress.Counter(0, "perplexity", dataset.ScoredTokens(w)))
	if err != nil {
		return m.Wrap(err)
	}
	q.Perplexity = &ppl
	if !s.KL {
		return nil
	}
	dense, err := open.LoadModel(s.device, s.Model, open.SourceOptions{}, open.ModelOptions{})
	if err != nil {
		return err
	}
	defer dense.Close()
	kl, err := metric.KL(ctx, dense.Model, m.Model, w, progress.Counter(0, "KL divergence", dataset.Positions(w)))
	if err != nil {
		return m.Wrap(err)
	}
	q.KL = &kl
	return nil
}

// windows are the first ones of the text, which is one document.
func (s *study) windows(m *open.Model) ([]dataset.Window, error) {
	tok, err := tokenizer.Open(m.Name)
	if err != nil {
		return nil, err
	}
	length, n := min(s.Context, m.Config.MaxPositions), s.Windows
	if n == 0 {
		n = 1 << 30
	}
	w, err := dataset.FirstWindows(tok, dataset.File{Path: s.Text, Separator: s.Separator}, length, n)
	if err != nil {
		return nil, err
	}
	if len(w) == 0 {
		return nil, fmt.Errorf("%s: no tokens in it", s.Text)
	}
	return w, nil
}

// readAnswers reads from a log which questions were answered right.
func readAnswers(path string) (map[string]Answers, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records := map[string][]zeroshot.Record{}
	for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
		var r zeroshot.Record
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		records[r.Task] = append(records[r.Task], r)
	}
	out := map[string]Answers{}
	for task, list := range records {
		slices.SortFunc(list, func(a, b zeroshot.Record) int { return a.Question - b.Question })
		var acc, norm strings.Builder
		for _, r := range list {
			right := r.Acc
			if r.Norm != nil {
				right = *r.Norm
			}
			fmt.Fprint(&acc, r.Acc)
			fmt.Fprint(&norm, right)
		}
		out[task] = Answers{acc.String(), norm.String()}
	}
	return out, nil
}
