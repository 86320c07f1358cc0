// Package recover trains a model that was cut, by low-rank adapters or in full:
// the recovery fine-tuning of MoP. What flows in: a checkpoint, rows of text and
// options. What flows out: the trained checkpoint, the adapters merged.
package finetune

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mop/internal/files"
	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
	"mop/runtime/train"
)

// Result of a run; OUT/recovery.json holds it too.
type Result struct {
	Steps     int                  `json:"steps"`
	Examples  int                  `json:"examples"`
	Skipped   []dataset.SkippedRow `json:"skipped"`
	FirstLoss float32              `json:"first_loss"` // of the first step, nats
	LastLoss  float32              `json:"last_loss"`
	Trained   int64                `json:"trained_parameters"`
	Data      string               `json:"data_sha256"`
	Settings  map[string]any       `json:"settings"`

	// TokensPerSecond is the median over the steps after the first; it is not
	// stored, since it is not the same twice.
	TokensPerSecond float64 `json:"-"`
}

// resultFile is what a trained model's directory has beside the model.
const resultFile = "recovery.json"

// Run trains and writes OUT. It may be stopped at any moment; with Resume it goes
// on from its last checkpoint and ends in the same bytes.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.AdapterInit != "" {
		if err := readAdapterConfig(o.AdapterInit, &o); err != nil {
			return nil, err
		}
		if err := o.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(o.AdapterInit, adapterConfig), err)
		}
	}
	if err := checkLog(o.Log); err != nil {
		return nil, err
	}
	dev, ok := o.Device.(device.Trainer)
	if !ok {
		return nil, fmt.Errorf("device %s: cannot train", o.Device.Capabilities().Name)
	}
	src, err := checkpoint.Open(o.Model)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := checkpoint.CheckFinite(src); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	if o.SaveAdapter != "" && !o.Resume && exists(o.SaveAdapter) {
		return nil, fmt.Errorf("%s: %w", o.SaveAdapter, checkpoint.ErrExists)
	}
	if o.Tokenizer == "" {
		o.Tokenizer = o.Model
	}
	tok, err := tokenizer.Open(o.Tokenizer)
	if err != nil {
		return nil, err
	}
	if n := src.Config().MaxPositions; o.MaxLength > n {
		slog.Warn("examples are cut to the model's context", "model", o.Model, "asked for", o.MaxLength, "context", n)
		o.MaxLength = n
	}
	examples, skipped, err := dataset.ReadExamples(o.Data, o.Separator, tok, o.MaxLength)
	if err := report(o, skipped, err); err != nil {
		return nil, err
	}
	r := &Result{Examples: len(examples), Skipped: skipped, Settings: o.Settings()}
	if r.Data, err = files.Sum(o.Data); err != nil {
		return nil, err
	}
	run, err := fingerprint(src, &o, r.Data)
	if err != nil {
		return nil, err
	}
	if done, err := finished(o, run); done != nil || err != nil {
		return done, err
	}
	if o.Rounded && !dev.Capabilities().BF16Activations {
		return nil, fmt.Errorf("device %s: cannot round activations to bfloat16", dev.Capabilities().Name)
	}
	m, err := model.LoadPlaced(dev, src, device.PlaceOptions{BF16Activations: o.Rounded})
	if err != nil {
		return nil, err
	}
	l, err := train.New(m, src, train.Options{Full: o.Full, Rank: o.Rank, Alpha: o.Alpha, Dropout: o.Dropout, Targets: o.Targets, Recompute: o.Recompute, Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	if o.AdapterInit != "" {
		if err := loadAdapter(o.AdapterInit, dev, l); err != nil {
			return nil, err
		}
	}
	for _, p := range l.Params {
		r.Trained += int64(p.Value.Rows()) * int64(p.Value.Cols())
	}
	if err := l.Reserve(longest(examples, &o)); err != nil {
		if errors.Is(err, device.ErrMemory) {
			err = fmt.Errorf("%w; shorter examples need less, and so does recomputing activations", err)
		}
		return nil, err
	}
	s, err := openStore(o.Out, run, o.Resume)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.done > 0 {
		if err := s.load(dev, l.Params); err != nil {
			return nil, err
		}
		slog.Info("training goes on", "step", s.done)
	}
	if err := r.steps(ctx, dev, l, examples, &o, s); err != nil {
		return nil, err
	}
	if o.SaveAdapter != "" {
		if err := saveAdapter(o.SaveAdapter, dev, l, &o); err != nil && !(o.Resume && errors.Is(err, checkpoint.ErrExists)) {
			return nil, err
		}
	}
	if err := r.write(src, dev, l, o, run); err != nil {
		return nil, err
	}
	return r, s.remove()
}

// report tells of the rows that were left out.
func report(o Options, skipped []dataset.SkippedRow, err error) error {
	if len(skipped) > 0 && o.Strict {
		return fmt.Errorf("%s: row %d: %s (%d such rows)", o.Data, skipped[0].Row, skipped[0].Reason, len(skipped))
	}
	if err != nil {
		return err
	}
	if len(skipped) > 0 {
		var first []string
		for _, s := range skipped[:min(5, len(skipped))] {
			first = append(first, fmt.Sprintf("row %d: %s", s.Row, s.Reason))
		}
		slog.Warn("rows skipped", "file", o.Data, "count", len(skipped), "first", strings.Join(first, "; "))
	}
	return nil
}

// steps trains to the end, keeping checkpoints, the log and the progress.
func (r *Result) steps(ctx context.Context, dev device.Device, l *train.Trainer, examples []dataset.Example, o *Options, s *store) error {
	log, err := openLog(o.Log, s.done)
	if err != nil {
		return err
	}
	defer log.close()
	r.Steps = newSchedule(o, len(examples)).total
	probe := passes(examples, newSchedule(o, len(examples)).batch(0), o, 0)[0]
	if s.done == 0 {
		if s.losses[2], err = meanLoss(l, probe); err != nil {
			return err
		}
	}
	began, first, tokens := time.Now(), s.done, 0
	var speeds []float64
	last := s.done
	err = Train(ctx, l, examples, o, first, func(step Step) error {
		last = step.Step
		if s.losses[1] = float32(step.Loss); step.Step == 1 {
			s.losses[0] = float32(step.Loss)
		}
		if err := log.add(step); err != nil {
			return err
		}
		tokens += step.Tokens
		if step.Step > first+1 {
			speeds = append(speeds, float64(step.Tokens)/step.Seconds)
		}
		if o.Progress != nil {
			gone := time.Since(began)
			o.Progress(progress.Update{Phase: "training", Done: step.Step, Total: r.Steps,
				Detail: fmt.Sprintf("loss %.4f, %.0f tokens/s", step.Loss, float64(tokens)/gone.Seconds()),
				Left:   gone / time.Duration(step.Step-first) * time.Duration(r.Steps-step.Step)})
		}
		if o.Every > 0 && (step.Step%o.Every == 0 || step.Step == r.Steps) {
			return s.save(dev, l.Params, step.Step)
		}
		return nil
	})
	r.FirstLoss, r.LastLoss = s.losses[0], s.losses[1]
	if len(speeds) > 0 {
		slices.Sort(speeds)
		r.TokensPerSecond = speeds[len(speeds)/2]
	}
	switch {
	case err != nil && ctx.Err() != nil && o.Every > 0 && last > s.done:
		return errors.Join(err, s.save(dev, l.Params, last))
	case err != nil && ctx.Err() == nil && s.done > 0:
		return fmt.Errorf("%w; the checkpoint of step %d is whole", err, s.done)
	case err != nil:
		return err
	}
	return warnWorse(l, probe, s.losses[2])
}

// meanLoss is the mean over a pass's labels, without dropout.
func meanLoss(l *train.Trainer, pass []train.Sequence) (float32, error) {
	nll, err := l.Loss(pass)
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

// worse is how far the loss on what was trained on may rise, in nats.
const worse = 0.5

// warnWorse looks at what the last update, too, has done: no step's loss shows it.
func warnWorse(l *train.Trainer, pass []train.Sequence, before float32) error {
	after, err := meanLoss(l, pass)
	if err == nil && !(after <= before+worse) {
		slog.Warn("training made the model worse on its own data: a lower learning rate may help", "loss before", before, "loss after", after)
	}
	return err
}

// write publishes the trained model.
func (r *Result) write(src *checkpoint.Dir, dev device.Device, l *train.Trainer, o Options, run string) error {
	specs, err := merged(src, dev, l)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(struct {
		*Result
		Run string `json:"run"`
	}{r, run}, "", "  ")
	if err != nil {
		return err
	}
	files := checkpoint.SideFiles(o.Model)
	if path := filepath.Join(o.Model, "plan.json"); exists(path) {
		files["plan.json"] = path
	}
	if emptyDir(o.Out) { // a save only creates directories
		if err := os.Remove(o.Out); err != nil {
			return err
		}
	}
	err = checkpoint.Save(o.Out, src.Config(), specs, checkpoint.SaveOptions{Files: files, Data: map[string][]byte{resultFile: append(text, '\n')}})
	if errors.Is(err, checkpoint.ErrExists) {
		return fmt.Errorf("%w: give another --out", err)
	}
	return err
}

// finished is the result of a run that has written OUT already; another model
// there is an error.
func finished(o Options, run string) (*Result, error) {
	if !exists(o.Out) || emptyDir(o.Out) {
		return nil, nil
	}
	var r struct {
		Result
		Run string `json:"run"`
	}
	text, err := os.ReadFile(filepath.Join(o.Out, resultFile))
	if !o.Resume || err != nil || json.Unmarshal(text, &r) != nil || r.Run != run {
		return nil, fmt.Errorf("%s: %w: give another --out", o.Out, checkpoint.ErrExists)
	}
	return &r.Result, os.RemoveAll(filepath.Clean(o.Out) + ".training")
}

// emptyDir reports whether a path is a directory without entries, and not a link to one.
func emptyDir(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	entries, err := os.ReadDir(path)
	return err == nil && len(entries) == 0
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Settings are the choices that the numbers depend on.
func (o *Options) Settings() map[string]any {
	s := map[string]any{"full": o.Full, "epochs": o.Epochs, "steps": o.Steps, "batch": o.Batch, "max_length": o.MaxLength, "packing": o.Packing,
		"loss_average": o.Average, "rate": o.LearningRate, "warm_up": o.WarmUp, "clip": o.MaxGradNorm, "betas": []float64{o.Beta1, o.Beta2}, "eps": o.Eps, "decay": o.WeightDecay,
		"seed": o.Seed, "shuffle": !o.NoShuffle, "separator": o.Separator}
	if o.Rounded {
		s["activations"] = "bfloat16"
	}
	if !o.Full {
		var names []string
		for _, p := range o.Targets {
			names = append(names, p.Short())
		}
		maps.Copy(s, map[string]any{"rank": o.Rank, "alpha": o.Alpha, "dropout": o.Dropout, "targets": names})
	}
	return s
}

// fingerprint names everything that the result depends on.
func fingerprint(src *checkpoint.Dir, o *Options, data string) (string, error) {
	h := sha256.New()
	for _, info := range checkpoint.ExpectedTensors(src.Config()) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return "", err
		}
		// The ends of every tensor tell models of one shape apart.
		fmt.Fprint(h, info.Name, info.Shape, t.DType)
		h.Write(t.Data[:min(len(t.Data), 4096)])
		h.Write(t.Data[max(0, len(t.Data)-4096):])
	}
	text, err := json.Marshal(o.Settings())
	if err != nil {
		return "", err
	}
	h.Write(text)
	fmt.Fprint(h, data, o.Device.Capabilities().Name) // devices round differently
	if o.AdapterInit != "" {
		sum, err := files.Sum(filepath.Join(o.AdapterInit, adapterFile))
		if err != nil {
			return "", err
		}
		fmt.Fprint(h, sum)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
