package study

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mop/bench/latency"
	"mop/bench/report"
	"mop/bench/tasks/zeroshot"
	"mop/internal/build"
	"mop/internal/files"
	"mop/internal/journal"
	"mop/runtime/metric"
)

// cellsFile holds the finished cells of a study.
const cellsFile = "cells.jsonl"

// cell is a finished piece of work. One of the pointers is not nil.
type cell struct {
	Pruned  *prunedCell  `json:"pruned,omitempty"`
	Quality *qualityCell `json:"quality,omitempty"`
	Latency *latencyCell `json:"latency,omitempty"`
	Seconds float64      `json:"seconds"`
	Commit  string       `json:"commit"`
}

// prunedCell is a model that a row has pruned.
type prunedCell struct {
	Row    string  `json:"row"`
	Flags  string  `json:"flags"`
	Seed   uint64  `json:"seed"`
	Target float64 `json:"target"`
	Description
}

// Description is what is known of a model before it is evaluated.
type Description struct {
	ID          string         `json:"id"`    // of weights and layers
	Shape       string         `json:"shape"` // of the layers' sizes, on which latency depends
	Dir         string         `json:"dir"`   // in a cell relative to the study's
	Params      int64          `json:"params"`
	Compression float64        `json:"compression"`
	Path        string         `json:"path,omitempty"` // the plan's steps: L removed a layer, G heads and neurons
	Layers      []report.Layer `json:"layers"`
}

// qualityCell is the evaluation of a model, as it was pruned or after its training.
type qualityCell struct {
	ID       string `json:"id"`
	Recovery string `json:"recovery,omitempty"` // the recipe; "" = as it was pruned
	Seed     uint64 `json:"seed"`               // of the training
	Quality
}

// Quality is a model's evaluation.
type Quality struct {
	Perplexity *metric.PerplexityResult    `json:"perplexity,omitempty"`
	KL         *metric.KLResult            `json:"kl,omitempty"`  // from the dense model as it was given
	BOS        string                      `json:"bos,omitempty"` // of the tasks' contexts: on or off
	Tasks      map[string]zeroshot.Figures `json:"tasks,omitempty"`
	Average    *zeroshot.Average           `json:"average,omitempty"`
	Answers    map[string]Answers          `json:"answers,omitempty"` // by task
}

// Answers has a character for each question of a task: 1 = it was answered right.
type Answers struct {
	Acc  string `json:"acc"`
	Norm string `json:"acc_norm"` // that of acc where the task has no acc_norm
}

// latencyCell is a group of models that took turns. The first one is dense.
type latencyCell struct {
	Machine string        `json:"machine"`
	Shapes  []string      `json:"shapes"`
	Rows    []latency.Row `json:"rows"`
}

// identity is what all evaluations of a study share. Rows, targets and seeds may be added.
func (o *Options) identity(baseID string) (map[string]string, error) {
	id := map[string]string{"study": "1", "model": baseID}
	if len(o.Tasks) > 0 {
		data, err := zeroshot.Load(o.Data, o.Tasks, o.Limit)
		if err != nil {
			return nil, err
		}
		var names []string
		for i, t := range o.Tasks {
			names = append(names, t.Name)
			id["data of "+t.Name] = data[i].Checksum
		}
		slices.Sort(names)
		id["tasks"], id["limit"], id["bos"] = strings.Join(names, ","), fmt.Sprint(o.Limit), o.BOS
	}
	if o.Text != "" {
		sum, err := files.Sum(o.Text)
		if err != nil {
			return nil, err
		}
		id["text"], id["windows"] = sum, fmt.Sprintf("%d of %d, documents separated by %q", o.Windows, o.Context, o.Separator)
		if o.KL {
			id["kl"] = "true"
		}
	}
	return id, nil
}

// openCells opens the file of cells.
func (s *study) openCells() error {
	id, err := s.identity(s.dense.ID)
	if err != nil {
		return err
	}
	if s.cells, err = journal.Open(filepath.Join(s.Out, cellsFile), id, checkCell); err != nil {
		return err
	}
	flags := map[string]string{}
	for _, r := range s.Rows {
		flags[r.Name] = r.Flags
	}
	for _, c := range s.cells.Records {
		if p := c.Pruned; p != nil {
			if want, ok := flags[p.Row]; ok && want != p.Flags {
				return fmt.Errorf("%s: row %s was pruned by %q, got %q: give the row another name, or another --out", s.Out, p.Row, p.Flags, want)
			}
		}
		if q := c.Quality; q != nil && q.Recovery != "" && s.Recover && q.Recovery != s.recipe {
			return fmt.Errorf("%s: models were trained by %s, got %s: give another --out", s.Out, q.Recovery, s.recipe)
		}
	}
	return nil
}

func checkCell(_ int, c cell) error {
	if c.Pruned == nil && c.Quality == nil && c.Latency == nil {
		return errors.New("want a cell that was pruned, evaluated or measured")
	}
	return nil
}

// finish keeps a cell.
func (s *study) finish(c cell, start time.Time) error {
	c.Seconds, c.Commit = time.Since(start).Seconds(), build.Commit()
	if err := s.cells.Add(c); err != nil {
		return err
	}
	s.logCell(c)
	return nil
}

// pruned finds a finished model of a row.
func (s *study) pruned(row string, seed uint64, target float64) *prunedCell {
	for _, c := range s.cells.Records {
		if p := c.Pruned; p != nil && p.Row == row && p.Seed == seed && p.Target == target {
			return p
		}
	}
	return nil
}

// quality finds the evaluation of a model. recovery "" is that before training.
func (s *study) quality(id, recovery string, seed uint64) *Quality {
	for _, c := range s.cells.Records {
		if q := c.Quality; q != nil && q.ID == id && q.Recovery == recovery && (recovery == "" || q.Seed == seed) {
			return &q.Quality
		}
	}
	return nil
}

// latencyOf finds the measurement of a shape by the study's protocol on this machine.
func (s *study) latencyOf(shape string) (row, dense *latency.Row) {
	for _, c := range s.cells.Records {
		if l := c.Latency; l != nil && l.Machine == s.machine && len(l.Rows) == len(l.Shapes) && len(l.Rows) > 0 && l.Rows[0].Protocol == s.Protocol {
			if i := slices.Index(l.Shapes, shape); i >= 0 {
				return &l.Rows[i], &l.Rows[0]
			}
		}
	}
	return nil, nil
}

// shortSum is a name for a text.
func shortSum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:16] }
