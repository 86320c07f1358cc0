package study

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"mop/bench/compare"
	"mop/bench/latency"
	"mop/runtime/open"
)

// measureAll measures the latency of all models whose shapes differ. Those of a group take
// turns in one process; the dense model is the first of every group, and speed-ups are
// within a group.
func (s *study) measureAll(ctx context.Context) error {
	if !s.Latency {
		return nil
	}
	missing := s.unmeasured()
	for groups := (len(missing) + s.Group - 2) / (s.Group - 1); groups > 0; groups-- {
		n := (len(missing) + groups - 1) / groups
		if err := s.measureGroup(ctx, missing[:n]); err != nil {
			return err
		}
		missing = missing[n:]
	}
	return nil
}

// unmeasured lists a model of each shape that was not measured. Trained models have the
// shapes of those that were trained.
func (s *study) unmeasured() []instance {
	seen := map[string]bool{s.dense.Shape: true}
	var out []instance
	for _, m := range s.models {
		if row, _ := s.latencyOf(m.Shape); row == nil && !seen[m.Shape] {
			seen[m.Shape] = true
			out = append(out, m)
		}
	}
	return out
}

func (s *study) measureGroup(ctx context.Context, group []instance) error {
	group = append([]instance{s.denseInstance()}, group...)
	start, l := time.Now(), &latencyCell{Machine: s.machine}
	var models []compare.Model
	for _, m := range group {
		if err := s.restore(ctx, m); err != nil {
			return err
		}
		name := m.Row
		if m.Row != denseName {
			name = fmt.Sprintf("%s %s", m.Row, m.Shape)
		}
		models, l.Shapes = append(models, compare.Checkpoint(name, m.Dir, open.SourceOptions{})), append(l.Shapes, m.Shape)
	}
	entries, samples, err := compare.Run(ctx, s.device, models, compare.Options{Protocol: s.Protocol, Kernels: s.Kernels, KVType: open.LatencyKVType(s.device, s.KVType), Progress: s.progress("latency")})
	if err != nil {
		return err
	}
	for _, e := range entries {
		l.Rows = append(l.Rows, e.Row)
	}
	var text bytes.Buffer
	if err := latency.WriteSamples(&text, samples); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(s.Out, fmt.Sprintf("samples-%d.jsonl", len(s.cells.Records))), text.Bytes(), 0o666); err != nil {
		return err
	}
	return s.finish(cell{Latency: l}, start)
}
