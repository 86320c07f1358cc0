package prune

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"mop/internal/files"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/tokenizer"
)

// texts are the ids that scores are taken on.
type texts struct {
	prompts [][]int
	windows []dataset.Window
	sums    map[string]string // role -> sha256 of the file
}

// readTexts reads what the run will need: prompts where a width step may come,
// windows for the criteria that are scored on them.
func readTexts(o Options, c *config.Config) (*texts, error) {
	t := &texts{sums: map[string]string{}}
	widths := o.Criterion != "sequence" || strings.Contains(o.Sequence, "G") || o.ExactTarget
	if o.Calibration == "" && widths {
		return nil, errors.New("calibration: want a file of prompts: the width branch is scored on them")
	}
	if o.Text == "" && o.scored() {
		return nil, fmt.Errorf("text: want a file: criterion %s is scored on it", o.Criterion)
	}
	if o.Calibration == "" && !o.scored() {
		return t, nil
	}
	// They are read twice, the second time for the checksum that the plan keeps of
	// them: a pipe would be empty by then.
	for _, path := range []string{o.Calibration, o.Text} {
		if path == "" {
			continue
		}
		if _, err := files.Check(path); err != nil {
			return nil, err
		}
	}
	tok, err := tokenizer.Open(o.Model)
	if err != nil {
		return nil, err
	}
	if o.Calibration != "" {
		var there int
		if t.prompts, there, err = dataset.Prompts(tok, o.Calibration, o.Prompts, c.MaxPositions, o.Sample, o.Seed); err != nil {
			return nil, err
		}
		if there < o.Prompts {
			slog.Warn("calibration: fewer prompts than asked", "file", o.Calibration, "want", o.Prompts, "got", there)
		}
		if t.sums["calibration"], err = files.Sum(o.Calibration); err != nil {
			return nil, err
		}
	}
	if !o.scored() {
		return t, nil
	}
	if t.windows, err = dataset.FirstTokens(tok, o.Text, o.Separator, min(o.Context, c.MaxPositions), o.Windows); err != nil {
		return nil, err
	}
	if len(t.windows) == 0 {
		return nil, fmt.Errorf("%s: no ids in it", o.Text)
	}
	if len(t.windows) < o.Windows {
		slog.Warn("text: fewer windows than asked", "file", o.Text, "want", o.Windows, "got", len(t.windows))
	}
	t.sums["text"], err = files.Sum(o.Text)
	return t, err
}

// settings are the choices that plan.json keeps beside the rule, as used.
func (r *run) settings() map[string]any {
	s := map[string]any{"prompts": len(r.texts.prompts), "calibration_sample": r.Sample, "windows": len(r.texts.windows),
		"context": min(r.Context, r.base.Config().MaxPositions), "exact_target": r.ExactTarget, "separator": r.Separator, "hf_type": r.HFType}
	for name, x := range r.training {
		s[name] = x
	}
	return s
}

// identity is everything that a step depends on: a journal of another one is not
// gone on with. Targets are not in it, nor how their models are written: another
// target goes on where the last ended.
func (r *run) identity() map[string]string {
	s := r.settings()
	delete(s, "exact_target")
	delete(s, "hf_type")
	out := map[string]string{"weights": r.weights, "criterion": r.Criterion, "sequence": r.Sequence, "seed": fmt.Sprint(r.Seed),
		"rule": r.width.Rule, "round_to": fmt.Sprint(r.width.RoundTo), "heads_multiple": fmt.Sprint(r.width.HeadsMultiple), "allocation": r.width.Allocation}
	for role, sum := range r.texts.sums {
		out[role] = sum
	}
	for name, x := range s {
		out[name] = fmt.Sprint(x)
	}
	return out
}
