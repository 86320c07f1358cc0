package finetune

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
)

// Options of a run. Defaults returns those of the released runs of MoP for LLaMA.
type Options struct {
	Model, Data, Out string
	Tokenizer        string // directory, "" = the model's
	HFType           string // model_type of a config with uniform layers: one of config.HFTypes; "" = see config.SetHFType
	Separator        string // between the texts of a plain text file
	Special          bool   // text of special tokens in the data gives their ids
	ChatTemplate     string // for rows of messages: a name or a file of chat.OpenNamed, "" = the tokenizer's

	// Device computes. If it is nil, OpenDevice is called after the options have been
	// checked, and the device is closed at the end of the run.
	Device     device.Device
	OpenDevice func() (device.Device, error)

	Full      bool               // train every parameter instead of adapters
	Rank      int                // of the adapters
	Alpha     float64            // their scale is Alpha/Rank
	Dropout   float64            // of the adapters' inputs
	Targets   []checkpoint.Param // projections that have an adapter
	Recompute bool               // activation checkpointing
	Rounded   bool               // round activations to bfloat16 in products with stored bfloat16 weights

	Epochs       int
	Steps        int     // 0 = as many as the epochs have
	Batch        int     // examples of a step
	MaxLength    int     // of an example, in tokens
	Packing      bool    // several examples in one pass, up to MaxLength tokens
	Average      string  // how the loss of a step is averaged: Examples or Tokens
	LearningRate float64 // the highest, after the warm-up
	WarmUp       int     // steps of the warm-up
	MaxGradNorm  float64 // the gradient is scaled down to this norm, 0 = never
	Beta1        float64
	Beta2        float64
	Eps          float64
	WeightDecay  float64
	Seed         uint64
	NoShuffle    bool
	Strict       bool // a row that cannot be used is an error

	AdapterInit string // directory of a PEFT adapter to start from
	SaveAdapter string // directory for the adapter, in PEFT's layout
	Log         string // file for one line of JSON per step
	Every       int    // steps between stored states, 0 = none are stored
	Resume      bool
	Temporary   bool          // the model is scored and discarded: it gets no model card
	Progress    progress.Func // called after each step
}

// The two ways to average the loss of a step.
const (
	Examples = "examples" // the mean over the examples of each one's mean over its labels
	Tokens   = "tokens"   // the mean over all labels of the step
)

// Defaults returns the recipe of the released runs.
func Defaults() Options {
	return Options{Rank: 32, Alpha: 10, Dropout: 0.05, Targets: checkpoint.Projections(), Epochs: 2, Batch: 16, MaxLength: 512,
		Average: Examples, LearningRate: 3e-4, MaxGradNorm: 1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Every: 50}
}

// ParseTargets reads "q,k,v,o,gate,up,down".
func ParseTargets(text string) ([]checkpoint.Param, error) {
	var out []checkpoint.Param
	for name := range strings.SplitSeq(text, ",") {
		i := slices.IndexFunc(checkpoint.Projections(), func(p checkpoint.Param) bool {
			return p.Short() == strings.TrimSuffix(strings.TrimSpace(name), "_proj")+"_proj"
		})
		if i < 0 {
			return nil, fmt.Errorf("targets: want some of q,k,v,o,gate,up,down, got %q", name)
		}
		if p := checkpoint.Projections()[i]; !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

// OptionsError is the error of options that are wrong whatever the model and the files
// hold.
type OptionsError struct{ Err error }

func (e OptionsError) Error() string { return e.Err.Error() }
func (e OptionsError) Unwrap() error { return e.Err }

// Limits of the options, so that no product of them overflows.
const (
	maxRank  = 1 << 16
	maxCount = 1 << 31 // of epochs, steps, and examples per step
)

// Check refuses options that are wrong whatever the model and the data are.
func (o Options) Check() error {
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	if err := config.CheckHFType(o.HFType); err != nil {
		return err
	}
	switch {
	case o.Average != Examples && o.Average != Tokens:
		return fmt.Errorf("loss average: want %s or %s, got %q", Examples, Tokens, o.Average)
	case !o.Full && (o.Rank < 1 || o.Rank > maxRank):
		return fmt.Errorf("rank: want 1 to %d, got %d", maxRank, o.Rank)
	case !finite(o.Alpha):
		return fmt.Errorf("alpha: want a number, got %v", o.Alpha)
	case !(o.Dropout >= 0 && o.Dropout < 1):
		return fmt.Errorf("dropout: want a share in [0, 1), got %v", o.Dropout)
	case o.Epochs < 1 || o.Steps < 0 || o.Batch < 1 || o.WarmUp < 0 || o.Every < 0:
		return fmt.Errorf("epochs and batch: want at least 1, steps, warm-up and checkpoints at least 0; got %d, %d, %d, %d, %d", o.Epochs, o.Batch, o.Steps, o.WarmUp, o.Every)
	case max(o.Epochs, o.Batch, o.Steps, o.WarmUp, o.Every) > maxCount:
		return fmt.Errorf("epochs, batch, steps, warm-up and checkpoints: want at most %d, got %d, %d, %d, %d, %d", maxCount, o.Epochs, o.Batch, o.Steps, o.WarmUp, o.Every)
	case o.MaxLength < 2:
		return fmt.Errorf("length: want at least 2 tokens, got %d", o.MaxLength)
	case !(o.LearningRate > 0) || !finite(o.LearningRate):
		return fmt.Errorf("learning rate: want a number above 0, got %v", o.LearningRate)
	case !(o.MaxGradNorm >= 0) || !(o.WeightDecay >= 0) || !(o.Eps > 0) || !finite(o.MaxGradNorm) || !finite(o.WeightDecay) || !finite(o.Eps):
		return fmt.Errorf("clip and decay: want numbers of at least 0, eps above 0; got %v, %v, %v", o.MaxGradNorm, o.WeightDecay, o.Eps)
	case !(o.Beta1 >= 0 && o.Beta1 < 1 && o.Beta2 >= 0 && o.Beta2 < 1):
		return fmt.Errorf("betas: want shares in [0, 1), got %v and %v", o.Beta1, o.Beta2)
	case o.SaveAdapter != "" && (within(o.SaveAdapter, o.Out) || within(o.Out, o.SaveAdapter) || within(o.SaveAdapter, filepath.Clean(o.Out)+statesSuffix)):
		return fmt.Errorf("the adapter wants a directory apart from the model's, got %s and %s", o.SaveAdapter, o.Out)
	case o.Log != "" && (within(o.Log, o.Out) || within(o.Log, filepath.Clean(o.Out)+statesSuffix)):
		return fmt.Errorf("the log wants a path apart from the model's directory, got %s and %s", o.Log, o.Out)
	case o.Full && o.Rounded:
		return errors.New("full training computes in float32: activations cannot be bfloat16")
	case o.Full && (o.AdapterInit != "" || o.SaveAdapter != ""):
		return errors.New("full training has no adapters to begin with or to save")
	}
	return nil
}

// within reports whether path is dir or lies in it, by their names.
func within(path, dir string) bool {
	a, errA := filepath.Abs(path)
	b, errB := filepath.Abs(dir)
	if errA != nil || errB != nil {
		return false // opening them reports the error
	}
	rest, err := filepath.Rel(b, a)
	return err == nil && filepath.IsLocal(rest)
}
