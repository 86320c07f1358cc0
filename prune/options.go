package prune

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"mop/prune/calibrate"
	"mop/prune/plan"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/tokenizer"
)

// Options of a run.
type Options struct {
	Model, Out  string // directories
	Device      device.Device
	Targets     []float64 // compressions in (0, 1)
	ExactTarget bool      // end with a width step that reaches the largest target exactly
	Criterion   string    // cosine, kl, ppl, random or sequence
	Sequence    string    // L and G, for criterion sequence
	Width       plan.Options
	Seed        uint64
	Resume      bool

	Calibration string // file of AMP's prompts
	Prompts     int    // how many of them
	Sample      bool   // a seeded sample instead of the first
	Text        string // file of the criterion's windows
	Separator   string // between its documents
	Windows     int    // how many windows
	Context     int    // their length in ids, BOS included

	Progress Progress
}

// Criteria lists the path criteria.
func Criteria() []string { return []string{"cosine", "kl", "ppl", "random", "sequence"} }

func (r *run) check() error {
	if !slices.Contains(Criteria(), r.Criterion) {
		return fmt.Errorf("criterion: want one of %s, got %q", strings.Join(Criteria(), ", "), r.Criterion)
	}
	if len(r.Targets) == 0 {
		return errors.New("targets: want at least one")
	}
	if r.Criterion == "sequence" {
		if _, err := plan.ParseSequence(r.Sequence); err != nil {
			return err
		}
	}
	c := r.base.Config()
	reach, err := plan.New(c).Reach(c, r.width)
	if err != nil {
		return err
	}
	if slices.Max(r.Targets) > reach {
		return fmt.Errorf("target %v: beyond reach: no path goes further than %.4f", slices.Max(r.Targets), reach)
	}
	return nil
}

// texts are the ids that scores are taken on.
type texts struct {
	prompts [][]int
	windows []calibrate.Window
	sums    map[string]string // role -> sha256 of the file
}

func readTexts(o Options, c *config.Config) (*texts, error) {
	t := &texts{sums: map[string]string{}}
	tok, err := tokenizer.Open(o.Model)
	if err != nil {
		return nil, err
	}
	depthOnly := o.Criterion == "sequence" && !strings.Contains(o.Sequence, "G")
	if o.Calibration == "" && !depthOnly {
		return nil, errors.New("calibration: want a file of prompts: the width branch is scored on them")
	}
	if o.Calibration != "" {
		var there int
		if t.prompts, there, err = calibrate.Prompts(tok, o.Calibration, o.Prompts, c.MaxPositions, o.Sample, o.Seed); err != nil {
			return nil, err
		}
		if there < o.Prompts {
			slog.Warn("calibration: fewer prompts than asked", "file", o.Calibration, "want", o.Prompts, "got", there)
		}
		if t.sums["calibration"], err = fileSum(o.Calibration); err != nil {
			return nil, err
		}
	}
	if !slices.Contains([]string{"cosine", "kl", "ppl"}, o.Criterion) {
		return t, nil
	}
	if o.Text == "" {
		return nil, fmt.Errorf("text: want a file: criterion %s is scored on it", o.Criterion)
	}
	docs, err := calibrate.Documents(o.Text, o.Separator)
	if err != nil {
		return nil, err
	}
	if t.windows, err = calibrate.Cut(tok, docs, min(o.Context, c.MaxPositions), 0, 0); err != nil {
		return nil, err
	}
	if len(t.windows) < o.Windows {
		slog.Warn("text: fewer windows than asked", "file", o.Text, "want", o.Windows, "got", len(t.windows))
	}
	t.windows = t.windows[:min(o.Windows, len(t.windows))]
	t.sums["text"], err = fileSum(o.Text)
	return t, err
}

func fileSum(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// settings are the choices that plan.json keeps beside the rule.
func (r *run) settings() map[string]any {
	return map[string]any{"prompts": len(r.texts.prompts), "calibration_sample": r.Sample, "windows": len(r.texts.windows),
		"context": min(r.Context, r.base.Config().MaxPositions), "exact_target": r.ExactTarget, "separator": r.Separator}
}

// fingerprint names everything that a step depends on: a journal of another one
// is not gone on with. Targets are not in it: another target goes on where the
// last ended, unless the end itself depends on them.
func (r *run) fingerprint() string {
	text, _ := json.Marshal(r.base.Config().Layers)
	exact := 0.0
	if r.ExactTarget {
		exact = slices.Max(r.Targets)
	}
	data, _ := json.Marshal([]any{string(text), r.base.Config().Params(), r.Criterion, r.Sequence, r.width, r.Seed, r.texts.sums, r.settings(), exact, r.weightSum()})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// weightSum tells bases of equal shape apart: the hash of the final norm and of
// the first and last part of every other tensor.
func (r *run) weightSum() string {
	h := sha256.New()
	for _, info := range expected(r.base) {
		d := info.Data
		h.Write([]byte(info.Name))
		h.Write(d[:min(len(d), 4096)])
		h.Write(d[max(0, len(d)-4096):])
	}
	return hex.EncodeToString(h.Sum(nil))
}
