package study

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mop/internal/files"
	"mop/internal/journal"
	"mop/internal/machine"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// study is a running one.
type study struct {
	Options
	device  device.Device
	trainer device.Trainer // the same one, where models are trained
	dense   Description
	vocab   int                  // of the dense model
	tokens  *tokenizer.Tokenizer // of the dense model
	recipe  string               // identifies the training, without its seed
	machine string               // identifies what latencies are measured on
	cells   *journal.Journal[cell]
	models  []instance // of the rows, in their order; what is not pruned yet is missing
}

// instance is a model of a row.
type instance struct {
	Row, Flags string
	goal
	Seed uint64
	Description
}

// goal is what was asked of a model: a compression or a share of the dense model's latency. It
// is zero where neither is known.
type goal struct{ Target, LatencyTarget float64 }

// label names a model for messages.
func (m instance) label() string {
	if m.Row == denseName {
		return denseName
	}
	return fmt.Sprintf("%s, %.1f %% smaller", m.Row, 100*m.Compression)
}

// Run does what is left of a study and writes its report. It may be interrupted or killed
// at any moment; the same options continue it after the last finished cell.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, OptionsError{err}
	}
	s := &study{Options: o}
	if err := s.checkPaths(); err != nil {
		return nil, err
	}
	dev, err := o.OpenDevice()
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	s.device = dev
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if err := s.checkOut(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Out, 0o777); err != nil {
		return nil, err
	}
	unlock, err := checkpoint.Lock(s.Out)
	if errors.Is(err, checkpoint.ErrBusy) {
		return nil, fmt.Errorf("%s: another study is using it", s.Out)
	} else if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.openCells(); err != nil {
		return nil, err
	}
	defer s.cells.Close()
	if err := s.checkRows(); err != nil {
		return nil, err
	}
	for _, phase := range []func(context.Context) error{s.evaluateDense, s.prune, s.evaluateAll, s.recoverAll, s.measureAll} {
		if err := phase(ctx); err != nil {
			return nil, errors.Join(err, s.reportSoFar())
		}
	}
	result := s.result()
	return result, writeReport(s.Out, result)
}

// reportSoFar writes the report of what is finished.
func (s *study) reportSoFar() error {
	if s.quality(s.dense.ID, "", 0) == nil {
		return nil
	}
	return writeReport(s.Out, s.result())
}

// OptionsError is the error of options that are wrong whatever the model and the files
// hold.
type OptionsError struct{ Err error }

func (e OptionsError) Error() string { return e.Err.Error() }
func (e OptionsError) Unwrap() error { return e.Err }

// checkPaths refuses an output inside of a model, directories that do not exist, and a model
// that a row has twice, which would count as two seeds.
func (s *study) checkPaths() error {
	out, err := files.Resolve(s.Out)
	if err != nil {
		return err
	}
	for _, r := range append([]Row{{Name: denseName, Models: []string{s.Model}}}, s.Rows...) {
		seen := map[string]bool{}
		for _, m := range r.Models {
			if _, err := files.Check(filepath.Join(m, "config.json")); err != nil {
				return err
			}
			dir, err := files.Resolve(m)
			switch {
			case err != nil:
				return err
			case files.Inside(out, dir):
				return fmt.Errorf("out: %s lies in the model's directory %s: give another --out", s.Out, m)
			case seen[dir]:
				return fmt.Errorf("%s: %s is there twice: give each model once", r.Name, m)
			}
			seen[dir] = true
		}
	}
	return nil
}

// checkOut refuses a directory whose report is not that of a study, since it would be lost.
func (s *study) checkOut() error {
	if _, err := os.Stat(filepath.Join(s.Out, cellsFile)); err == nil {
		return nil
	}
	for _, name := range reportFiles {
		if _, err := os.Lstat(filepath.Join(s.Out, name)); err == nil {
			return fmt.Errorf("%s: it has a %s but no %s of a study: give another --out", s.Out, name, cellsFile)
		}
	}
	return nil
}

// prepare opens what the whole study needs, before anything is written.
func (s *study) prepare() error {
	var err error
	if s.dense, err = describe(s.Model, nil); err != nil {
		return err
	}
	c, err := config.Load(filepath.Join(s.Model, "config.json"))
	if err != nil {
		return err
	}
	s.vocab = c.VocabSize
	if s.tokens, err = tokenizer.Open(s.Model); err != nil {
		return err
	}
	caches, err := device.WithCacheType(s.device, open.LatencyKVType(s.device, s.KVType))
	if err != nil {
		return err
	}
	info, can := machine.Describe(), caches.Capabilities()
	s.machine = fmt.Sprintf("%s on %s, %d threads, kernels %s", can.Hardware, info.CPU, can.Threads, s.Kernels)
	if can.CacheType != "f32" { // the cache of all studies before the type could be chosen
		s.machine += ", KV cache " + can.CacheType
	}
	if !s.Recover {
		return nil
	}
	if s.trainer, err = device.AsTrainer(s.device); err != nil {
		return err
	}
	sum, err := files.Sum(s.Recipe.Data)
	if err != nil {
		return err
	}
	settings := s.Recipe.Settings()
	delete(settings, "seed")
	settings["data"] = sum
	text, err := json.Marshal(settings)
	s.recipe = string(text)
	return err
}
