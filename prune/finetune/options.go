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

	Epochs    int
	Steps     int  // 0 = as many as the epochs have
	Batch     int  // examples of a step
	MaxLength int  // of an example, in tokens
	Packing   bool // several examples in one pass, up to MaxLength tokens
	// PassTokens puts several examples into one pass, up to so many tokens; 0 = what keeps
	// the device busy, or less where there is no memory for it. A resumed run keeps the
	// number that it began with.
	PassTokens   int
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

// DefaultsFor returns the recipe of the released runs for a model: adapters of rank 8 and
// alpha 16 for the language model of a LLaVA, else those of Defaults.
func DefaultsFor(c *config.Config) Options {
	o := Defaults()
	if c.Multimodal != nil {
		o.Rank, o.Alpha = 8, 16
	}
	return o
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
		p := checkpoint.Projections()[i]
		if slices.Contains(out, p) {
			return nil, fmt.Errorf("targets: %s is named twice", p.Short())
		}
		out = append(out, p)
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

// Check refuses options that are wrong whatever the model and the data are. Errors begin
// with the option's name on the command line.
func (o Options) Check() error {
	for _, n := range []struct {
		name           string
		value, minimum int
	}{{"epochs", o.Epochs, 1}, {"batch", o.Batch, 1}, {"steps", o.Steps, 0}, {"warm-up", o.WarmUp, 0}, {"checkpoint-every", o.Every, 0}} {
		if n.value < n.minimum || n.value > maxCount {
			return fmt.Errorf("%s: want %d to %d, got %d", n.name, n.minimum, maxCount, n.value)
		}
	}
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	if err := config.CheckHFType(o.HFType); err != nil {
		return err
	}
	for _, x := range []struct {
		name  string
		value float64
	}{{"clip", o.MaxGradNorm}, {"decay", o.WeightDecay}} {
		if !(x.value >= 0) || !finite(x.value) {
			return fmt.Errorf("%s: want a number of at least 0, got %v", x.name, x.value)
		}
	}
	for _, x := range []struct {
		name  string
		value float64
	}{{"beta1", o.Beta1}, {"beta2", o.Beta2}, {"dropout", o.Dropout}} {
		if !(x.value >= 0 && x.value < 1) {
			return fmt.Errorf("%s: want a share in [0, 1), got %v", x.name, x.value)
		}
	}
	apart := func(path string) bool {
		return within(path, o.Out) || within(path, filepath.Clean(o.Out)+statesSuffix)
	}
	switch {
	case o.Average != Examples && o.Average != Tokens:
		return fmt.Errorf("loss-average: want %s or %s, got %q", Examples, Tokens, o.Average)
	case !o.Full && (o.Rank < 1 || o.Rank > maxRank):
		return fmt.Errorf("rank: want 1 to %d, got %d", maxRank, o.Rank)
	case !finite(o.Alpha):
		return fmt.Errorf("alpha: want a number, got %v", o.Alpha)
	case o.MaxLength < 2:
		return fmt.Errorf("max-length: want at least 2 tokens, got %d", o.MaxLength)
	case !(o.LearningRate > 0) || !finite(o.LearningRate):
		return fmt.Errorf("lr: want a number above 0, got %v", o.LearningRate)
	case !(o.Eps > 0) || !finite(o.Eps):
		return fmt.Errorf("eps: want a number above 0, got %v", o.Eps)
	case o.SaveAdapter != "" && (apart(o.SaveAdapter) || within(o.Out, o.SaveAdapter)):
		return fmt.Errorf("save-adapter: the adapter wants a directory apart from the model's, got %s and %s", o.SaveAdapter, o.Out)
	case o.Log != "" && apart(o.Log):
		return fmt.Errorf("log: the log wants a path apart from the model's directory, got %s and %s", o.Log, o.Out)
	case o.Full && o.Rounded:
		return errors.New("full: training computes in float32: activations cannot be bfloat16")
	case o.Full && (o.AdapterInit != "" || o.SaveAdapter != ""):
		return errors.New("full: full training has no adapters to begin with or to save")
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
