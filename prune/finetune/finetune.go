// Package finetune trains a pruned model to regain its quality, by low-rank adapters that
// are merged into the weights at the end, or in full. It is the recovery of MoP. Run takes
// a checkpoint, training data and options, and writes the trained checkpoint.
package finetune

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"mop/internal/files"
	"mop/internal/progress"
	"mop/runtime/chat"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
	"mop/runtime/train"
)

// run is one fine-tuning run.
type run struct {
	Options
	device   device.Trainer
	source   *checkpoint.Dir
	adapter  *adapterInit // nil = none to start from
	examples []dataset.Example
	result   *Result
	id       map[string]string // everything that the result depends on
	model    *model.Model
	trainer  *train.Trainer
	states   *stateStore
}

// Run fine-tunes and writes OUT. It can be interrupted or killed at any moment. With
// Resume it continues from its last stored state and ends in the same bytes as a run
// without interruption.
func Run(ctx context.Context, o Options) (*Result, error) {
	r := &run{Options: o}
	if err := r.Check(); err != nil {
		return nil, OptionsError{err}
	}
	if r.Device == nil {
		if r.OpenDevice == nil {
			return nil, OptionsError{errors.New("device: want one")}
		}
		dev, err := r.OpenDevice()
		if err != nil {
			return nil, err
		}
		defer dev.Close()
		r.Device = dev
	}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	var err error
	if r.source, err = checkpoint.Open(r.Model); err != nil {
		return nil, err
	}
	defer r.source.Close()
	if r.AdapterInit != "" {
		if err := r.readAdapter(); err != nil {
			return nil, err
		}
	}
	if err := r.readData(); err != nil {
		return nil, err
	}
	if previous, err := r.previousResult(); previous != nil || err != nil {
		return previous, err
	}
	defer r.freeModel()
	if err := r.loadModel(); err != nil {
		return nil, err
	}
	if r.states, err = openStateStore(r.Out, r.id, r.PassTokens, r.Resume); err != nil {
		return nil, err
	}
	defer r.states.close()
	r.result.PassTokens = r.states.passTokens
	if r.states.done > 0 {
		// Passes are cut as before, because the order of sums depends on it.
		r.PassTokens = r.states.passTokens
		if err := r.reserve(false); err != nil {
			return nil, err
		}
		if err := r.states.load(r.device, r.trainer.Params); err != nil {
			return nil, err
		}
		slog.Info("fine-tuning resumes", "step", r.states.done)
	}
	if err := r.train(ctx); err != nil {
		return nil, err
	}
	if r.SaveAdapter != "" {
		if err := r.saveAdapter(); err != nil && !(r.Resume && errors.Is(err, checkpoint.ErrExists)) {
			return nil, err
		}
	}
	if err := r.writeModel(); err != nil {
		return nil, err
	}
	return r.result, r.states.remove()
}

// prepare checks the options against the device and the files.
func (r *run) prepare() error {
	if err := r.checkOutsideModel(); err != nil {
		return err
	}
	if err := checkLog(r.Log); err != nil {
		return err
	}
	dev, err := device.AsTrainer(r.Device)
	if err != nil {
		return err
	}
	if r.Rounded && !dev.Capabilities().BF16Activations {
		return fmt.Errorf("device %s: cannot round activations to bfloat16", dev.Capabilities().Name)
	}
	r.device = dev
	if r.SaveAdapter != "" && !r.Resume && exists(r.SaveAdapter) {
		return fmt.Errorf("%s: %w", r.SaveAdapter, checkpoint.ErrExists)
	}
	return nil
}

// checkOutsideModel refuses outputs inside the directory of the model that is trained.
func (r *run) checkOutsideModel() error {
	model, err := files.Resolve(r.Model)
	if err != nil {
		return err
	}
	for _, o := range []struct{ name, path string }{{"out", r.Out}, {"save-adapter", r.SaveAdapter}, {"log", r.Log}} {
		if o.path == "" {
			continue
		}
		if path, err := files.Resolve(o.path); err == nil && files.Inside(path, model) {
			return fmt.Errorf("%s: %s lies in the model's directory %s: give another --%s", o.name, o.path, r.Model, o.name)
		}
	}
	return nil
}

// readData checks the weights, reads the examples, and computes what identifies the run.
func (r *run) readData() error {
	if err := checkpoint.CheckFinite(r.source); err != nil {
		return fmt.Errorf("%s: %w", r.Model, err)
	}
	if r.Tokenizer == "" {
		r.Tokenizer = r.Model
	}
	tok, err := tokenizer.Open(r.Tokenizer)
	if err != nil {
		return err
	}
	if n := r.source.Config().MaxPositions; r.MaxLength > n {
		slog.Warn("examples are cut to the model's context", "model", r.Model, "max_length", r.MaxLength, "context", n)
		r.MaxLength = n
	}
	file := r.dataFile()
	file.EOS = taughtEOS(tok, r.source.Config().EOS)
	examples, skipped, err := dataset.ReadExamples(file, tok, r.MaxLength)
	if err := checkSkipped(&r.Options, skipped, err); err != nil {
		return err
	}
	r.examples = examples
	r.result = &Result{Examples: len(examples), Skipped: skipped, Settings: r.Settings()}
	if r.result.Data, err = files.Sum(r.Data); err != nil {
		return err
	}
	r.id, err = identity(r.source, &r.Options, r.result.Data, examples)
	return err
}

// taughtEOS is the order of the tokens that end a text. Training teaches the first one: that
// of the settings beside the tokenizer, else the first one that the model's configuration
// names too, else the configuration's, if it is a special token.
func taughtEOS(tok *tokenizer.Tokenizer, configured []int) []int {
	eos := tok.EOS()
	if tok.NamesEOS() {
		return eos
	}
	if i := slices.IndexFunc(eos, func(id int) bool { return slices.Contains(configured, id) }); i > 0 {
		eos[0], eos[i] = eos[i], eos[0]
	} else if i < 0 {
		known := slices.DeleteFunc(slices.Clone(configured), func(id int) bool { return !tok.IsControl(id) })
		eos = append(known, eos...)
	}
	return eos
}

// dataFile is the training data, and how its rows are read.
func (o *Options) dataFile() dataset.File {
	return dataset.File{Path: o.Data, Separator: o.Separator, Special: o.Special, Template: chat.Opener(o.ChatTemplate, o.Tokenizer)}
}

// loadModel loads the model for training, with the adapter to start from, and allocates
// the memory of the largest pass.
func (r *run) loadModel() error {
	var err error
	if r.model, err = model.LoadPlaced(r.device, r.source, device.PlaceOptions{BF16Activations: r.Rounded}); err != nil {
		return err
	}
	if r.trainer, err = train.New(r.model, r.source, train.Options{Full: r.Full, Rank: r.Rank, Alpha: r.Alpha, Dropout: r.Dropout,
		Targets: r.Targets, Adapter: r.trainerAdapter(), Recompute: r.Recompute, Seed: r.Seed}); err != nil {
		return err
	}
	if r.AdapterInit != "" {
		if err := loadAdapter(r.AdapterInit, r.adapter, r.device, r.trainer); err != nil {
			return err
		}
	}
	for _, p := range r.trainer.Params {
		r.result.Trained += int64(p.Value.Rows()) * int64(p.Value.Cols())
	}
	r.SetPassTokens(r.device)
	return r.reserve(true)
}

// reserve allocates the memory of the largest pass. With shorten, passes take fewer tokens
// of several examples where there is no memory for as many.
func (r *run) reserve(shorten bool) error {
	for {
		n := longestPass(r.examples, &r.Options)
		err := r.trainer.Reserve(n)
		if !errors.Is(err, device.ErrMemory) {
			return err
		}
		before := r.PassTokens
		r.PassTokens = min(before, n) / 2
		if !shorten || before <= 1 || longestPass(r.examples, &r.Options) == n {
			return fmt.Errorf("%w; shorter examples need less, and so does recomputing activations", err)
		}
		slog.Warn("no memory for a training pass of so many tokens: passes get shorter", "tokens", n, "error", err)
	}
}

// freeModel frees what loadModel loaded.
func (r *run) freeModel() {
	if r.trainer != nil {
		r.trainer.Close()
	}
	if r.model != nil {
		r.model.Close()
	}
}

// train takes the remaining steps. It writes the log, stores states, and reports the
// progress.
func (r *run) train(ctx context.Context) error {
	log, err := openLog(r.Log, r.states.done)
	if err != nil {
		return err
	}
	defer log.close()
	s := newSchedule(&r.Options, len(r.examples))
	r.result.Steps = s.total
	losses := &r.states.losses
	// The loss on the first pass before and after training shows what the last step did.
	firstPass := passes(r.examples, s.batch(0), &r.Options, 0)[0]
	if r.states.done == 0 {
		if losses.beforeTraining, err = meanLoss(r.trainer, firstPass); err != nil {
			return err
		}
	}
	start, resumedAt := time.Now(), r.states.done
	last, tokens := resumedAt, 0
	var speeds []float64 // tokens per second of each step after the first
	err = Train(ctx, r.trainer, r.examples, &r.Options, resumedAt, func(step Step) error {
		last = step.Step
		losses.lastStep = float32(step.Loss)
		if step.Step == 1 {
			losses.firstStep = float32(step.Loss)
		}
		if err := log.add(step); err != nil {
			return err
		}
		tokens += step.Tokens
		if step.Step > resumedAt+1 {
			speeds = append(speeds, float64(step.Tokens)/step.Seconds)
		}
		elapsed := time.Since(start)
		r.Progress.Report(progress.Update{Phase: "training", Done: step.Step, Total: s.total,
			Detail: fmt.Sprintf("loss %.4f, %.0f tokens/s", step.Loss, float64(tokens)/elapsed.Seconds()),
			Left:   elapsed / time.Duration(step.Step-resumedAt) * time.Duration(s.total-step.Step)})
		if r.Every > 0 && (step.Step%r.Every == 0 || step.Step == s.total) {
			return r.states.save(r.device, r.trainer.Params, step.Step)
		}
		return nil
	})
	r.result.FirstLoss, r.result.LastLoss = losses.firstStep, losses.lastStep
	if len(speeds) > 0 {
		slices.Sort(speeds)
		r.result.TokensPerSecond = speeds[len(speeds)/2]
	}
	switch {
	case err != nil && ctx.Err() != nil && r.Every > 0 && last > r.states.done:
		return errors.Join(err, r.states.save(r.device, r.trainer.Params, last))
	case err != nil && ctx.Err() == nil && r.states.done > 0:
		return fmt.Errorf("%w; the checkpoint of step %d is complete", err, r.states.done)
	case err != nil:
		return err
	}
	return warnIfWorse(r.trainer, firstPass, losses.beforeTraining)
}

// meanLoss is the mean loss over the labels of a pass, without dropout.
func meanLoss(t *train.Trainer, pass []train.Sequence) (float32, error) {
	nll, err := t.Loss(pass)
	if err != nil {
		return 0, err
	}
	sum, labels := 0.0, 0
	for i, q := range pass {
		sum += nll[i]
		for _, label := range q.Labels {
			if label >= 0 {
				labels++
			}
		}
	}
	return float32(sum / float64(labels)), nil
}

// maxLossIncrease is how far the loss on the training data may rise without a warning, in
// nats.
const maxLossIncrease = 0.5

// warnIfWorse warns if training has made the model worse on its own data. No step's loss
// shows the effect of the last update.
func warnIfWorse(t *train.Trainer, pass []train.Sequence, before float32) error {
	after, err := meanLoss(t, pass)
	if err == nil && !(after <= before+maxLossIncrease) {
		slog.Warn("training made the model worse on its own data: a lower learning rate may help", "loss_before", before, "loss_after", after)
	}
	return err
}
