package prune

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"mop/internal/progress"
	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/runtime/device"
)

// Options of a run.
type Options struct {
	Model, Out  string // directories
	Device      device.Device
	Targets     []float64 // compressions in (0, 1)
	ExactTarget bool      // meet each target exactly, with a last width step off the path
	Criterion   string    // one of Criteria
	Sequence    string    // L and G, for criterion sequence
	Width       plan.Options
	Seed        uint64
	Resume      bool
	HFType      string // what plain configs call themselves: one of HFTypes, "" = llama

	Calibration string // file of AMP's prompts
	Prompts     int    // how many of them
	Sample      bool   // a seeded sample instead of the first
	Text        string // file of the criterion's windows
	Separator   string // between its documents
	Windows     int    // how many windows
	Context     int    // their length in ids, BOS included

	Recovery Recovery

	Progress progress.Func
}

// Criteria lists the path criteria.
func Criteria() []string { return append(criterion.Scored(), "random", "sequence") }

// HFTypes lists what a config of uniform layers can call itself: transformers 5
// loads a Mistral where a LLaMA's heads do not divide its width.
func HFTypes() []string { return []string{"llama", "mistral"} }

// scored reports whether candidates are run for the criterion.
func (o *Options) scored() bool { return slices.Contains(criterion.Scored(), o.Criterion) }

// Check holds the options to their values: what can be told without the model
// and the files.
func (o *Options) Check() error {
	if !slices.Contains(Criteria(), o.Criterion) {
		return fmt.Errorf("criterion: want one of %s, got %q", strings.Join(Criteria(), ", "), o.Criterion)
	}
	if len(o.Targets) == 0 {
		return errors.New("targets: want at least one")
	}
	for i, t := range o.Targets {
		if !(t > 0 && t < 1) {
			return fmt.Errorf("targets: want numbers in (0, 1), got %v", t)
		}
		if slices.Contains(o.Targets[:i], t) {
			return fmt.Errorf("targets: %v stands twice", t)
		}
	}
	if o.Criterion == "sequence" {
		if _, err := plan.ParseSequence(o.Sequence); err != nil {
			return err
		}
	}
	if o.HFType == "" {
		o.HFType = HFTypes()[0]
	}
	if !slices.Contains(HFTypes(), o.HFType) {
		return fmt.Errorf("hf type: want one of %s, got %q", strings.Join(HFTypes(), ", "), o.HFType)
	}
	if o.Prompts < 1 && o.Calibration != "" {
		return fmt.Errorf("prompts: want at least 1, got %d", o.Prompts)
	}
	if o.scored() && (o.Windows < 1 || o.Context < 2) {
		return fmt.Errorf("windows: want at least 1 of at least 2 ids, got %d of %d", o.Windows, o.Context)
	}
	return o.Recovery.check(o)
}

// checkReach refuses a target that no path comes near.
func (r *run) checkReach() error {
	c := r.base.Config()
	reach, err := plan.New(c).Reach(c, r.width)
	if err != nil {
		return err
	}
	if goal := slices.Max(r.Targets); goal > reach {
		return fmt.Errorf("target %v: beyond reach: no path goes further than %.4f", goal, math.Floor(reach*1e4)/1e4)
	}
	return nil
}
