package prune

import (
	"slices"

	"mop/internal/progress"
	"mop/prune/finetune"
	"mop/prune/method"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/device"
)

// Options of a run.
type Options struct {
	Model, Out  string    // directories
	Targets     []float64 // compressions in (0, 1)
	ExactTarget bool      // meet each target exactly, by a last width step off the path
	Method      string    // a name of method.All; "" = mop
	Criterion   string    // one of criterion.Names; "" with a method that uses none
	Sequence    string    // L and G, for criterion sequence
	Score       string    // importance score of heads and neurons: a name of score.Methods; "" = amp
	HeadScore   string    // that of heads, "" = Score
	NeuronScore string    // that of neurons, "" = Score
	Refit       bool      // refit o_proj and down_proj of the targets' models on the calibration prompts
	Width       plan.Options
	Seed        uint64
	Resume      bool
	HFType      string // model_type of configs with uniform layers: one of config.HFTypes; "" = see config.SetHFType

	// Device computes. If it is nil, OpenDevice is called after the options have been
	// validated, and the device is closed at the end of the run.
	Device     device.Device
	OpenDevice func() (device.Device, error)

	Calibration string // file of the prompts on which heads and neurons are scored
	Prompts     int    // number of prompts
	Sample      bool   // take a seeded sample of the prompts instead of the first ones
	Text        string // file of the text on which candidates are scored
	Separator   string // between the documents of the text
	Windows     int    // number of windows of the text
	Context     int    // tokens of a window, BOS included

	Special      bool   // text of special tokens in the files gives their ids, also in those of Recovery
	ChatTemplate string // for rows of messages: a name or a file of chat.OpenNamed, "" = the model's

	Recovery Recovery

	// TargetLatency makes the targets shares of the unpruned model's latency, which are
	// met by measurement, instead of compressions.
	TargetLatency bool
	// MeasureLatency measures a model on the run's device; PredictLatency predicts its
	// time for the criterion latency, nil = it is measured. LatencyIdentity names what
	// both depend on, for the run's identity.
	MeasureLatency, PredictLatency LatencyFunc
	LatencyIdentity                string
	LatencyPredicted               bool // MeasureLatency predicts: plans say so

	Progress progress.Func
}

// Recovery says which models are fine-tuned. A fine-tuned model is never pruned further.
type Recovery struct {
	Recipe finetune.Options // Model, Tokenizer, Device, Seed, Out and Resume are set by the run
	Short  int              // steps that a candidate is fine-tuned before it is scored, 0 = none; the result is discarded
	Final  bool             // fine-tune each target's model, into a directory of its own
}

// NeedsTrainer reports whether the device of the run must compute gradients.
func (o *Options) NeedsTrainer() bool {
	if o.Recovery.needed() {
		return true
	}
	names := []string{o.Score, o.HeadScore, o.NeuronScore}
	if m, err := method.ByName(o.Method); err == nil {
		if x, ok := m.(method.OneShot); ok {
			s, err := x.Score(o.Seed)
			return err == nil && s.Needs().Gradients
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		s, err := score.ByName(name)
		return err == nil && s.Needs().Gradients
	})
}

// needed reports whether the run fine-tunes a model.
func (v *Recovery) needed() bool { return v.Short > 0 || v.Final }

// OptionsError is the error of options that are wrong whatever the model and the files
// hold.
type OptionsError struct{ Err error }

func (e OptionsError) Error() string { return e.Err.Error() }
func (e OptionsError) Unwrap() error { return e.Err }
