package search

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"mop/internal/files"
	"mop/prune"
	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/prune/refit"
	"mop/prune/score"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// run is one search.
type run struct {
	Options
	grid
	dev       device.Device
	base      checkpoint.Source
	checksum  string
	method    score.Method // importance of heads and neurons
	prompts   [][]int      // of the calibration file
	windows   []dataset.Window
	texts     map[string]string // "calibration" and "text" -> sha256
	reference *criterion.CachedReference

	headOrder, neuronOrder [][]int // [L], the most important first
	refits                 *refits // nil = weights are not refitted

	shared *values // losses of blocks
	own    *values // of the present job
}

// Model is a model that a search wrote.
type Model struct {
	Dir     string
	Plan    *plan.Plan
	Target  float64
	Cost    float64 // predicted share of the dense model's
	KL      float64 // on all windows
	StartKL float64 // of the best division's model, before evolution
	Skipped bool    // another job is searching for it, or it was there already
}

// The files of a search in its output directory. The parts that all jobs share are
// computed by the first of them, and the others wait.
const (
	sharedDir  = ".search"
	lossesFile = "losses.jsonl"
	scoresFile = "scores.json"
	statesFile = "base-states"
)

// ModelDir is the directory of a target's and seed's model, such as OUT/0.60-seed1.
func ModelDir(out string, target float64, seed uint64) string {
	return fmt.Sprintf("%s-seed%d", prune.TargetDir(out, target), seed)
}

// Run searches for a model for each target and writes them. A run may be stopped at any
// moment; with Resume it goes on and ends with the same models. Runs with other targets
// or seeds may work in the same directory at the same time, also on other machines of the
// same kind that share it.
func Run(ctx context.Context, o Options) ([]Model, error) {
	r := &run{Options: o}
	if err := o.Check(); err != nil {
		return nil, prune.OptionsError{Err: err}
	}
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	r.base = base
	r.grid = grid{base.Config().Layers, o.Levels}
	k, err := r.Options.cost(base.Config())
	if err != nil {
		return nil, err
	}
	if err := r.checkReach(k); err != nil {
		return nil, err
	}
	if err := checkpoint.CheckFinite(base); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	if r.dev, err = o.OpenDevice(); err != nil {
		return nil, err
	}
	defer r.dev.Close()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	defer r.close()
	losses, err := r.shareLosses(ctx)
	if err != nil {
		return nil, err
	}
	var models []Model
	for _, target := range o.Targets {
		m, err := r.search(ctx, target, losses, *k)
		if err != nil {
			return models, fmt.Errorf("target %v: %w", target, err)
		}
		models = append(models, m)
	}
	return models, nil
}

func (r *run) dir() string { return filepath.Join(r.Out, sharedDir) }

// prepare reads the texts and opens the files that all jobs share.
func (r *run) prepare(ctx context.Context) error {
	tok, err := tokenizer.Open(r.Model)
	if err != nil {
		return err
	}
	c := r.base.Config()
	// Searches of all seeds share the scores, so random ones do not depend on the seed.
	if r.method, err = score.New(score.Options{Heads: r.HeadScore, Neurons: r.NeuronScore}); err != nil {
		return err
	}
	if r.prompts, _, err = dataset.Prompts(tok, dataset.File{Path: r.Calibration}, r.Prompts, c.MaxPositions, false, r.Seed); err != nil {
		return err
	}
	if r.windows, err = dataset.FirstWindows(tok, dataset.File{Path: r.Text, Separator: r.Separator}, min(r.Context, c.MaxPositions), r.Windows); err != nil {
		return err
	}
	if len(r.windows) < r.Windows {
		return fmt.Errorf("%s: want %d windows of %d tokens, got %d: give more text or fewer windows", r.Text, r.Windows, r.Context, len(r.windows))
	}
	r.texts = map[string]string{}
	paths := map[string]string{"calibration": r.Calibration, "text": r.Text}
	if r.Short > 0 {
		paths["recovery"] = r.Recipe.Data
	}
	for role, path := range paths {
		if r.texts[role], err = files.Sum(path); err != nil {
			return err
		}
	}
	if r.checksum, err = checkpoint.Checksum(r.base); err != nil {
		return err
	}
	if err := r.checkOutput(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir(), 0o777); err != nil {
		return err
	}
	unlock, err := r.lock(ctx, r.dir())
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.scores(ctx); err != nil {
		return err
	}
	if r.Refit {
		if err := r.prepareRefits(ctx); err != nil {
			return err
		}
	}
	return r.openReference(ctx)
}

// checkOutput refuses to write into the model's directory, or to continue without being
// asked to.
func (r *run) checkOutput() error {
	model, err := files.Resolve(r.Model)
	if err != nil {
		return err
	}
	if out, err := files.Resolve(r.Out); err == nil && files.Inside(out, model) {
		return fmt.Errorf("out: %s lies in the model's directory %s: give another --out", r.Out, r.Model)
	}
	for _, t := range r.Targets {
		if _, err := os.Lstat(ModelDir(r.Out, t, r.Seed)); err == nil && !r.Resume {
			return fmt.Errorf("%s: exists already: give --resume or another --out", ModelDir(r.Out, t, r.Seed))
		}
		if _, err := os.Lstat(r.jobDir(t)); err == nil && !r.Resume {
			return fmt.Errorf("%s: a search was started here: give --resume to continue it, or another --out", r.jobDir(t))
		}
	}
	return nil
}

// lock locks a directory, and waits while another job has it.
func (r *run) lock(ctx context.Context, dir string) (unlock func(), err error) {
	for logged := false; ; logged = true {
		unlock, err := checkpoint.Lock(dir)
		if !errors.Is(err, checkpoint.ErrBusy) {
			return unlock, err
		}
		if !logged {
			slog.Info("waiting for another job that computes what all jobs share", "directory", dir)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// identity is what the losses of blocks depend on.
func (r *run) identity() map[string]string {
	id := map[string]string{"weights": r.checksum, "calibration": r.texts["calibration"], "text": r.texts["text"], "separator": r.Separator,
		"prompts": fmt.Sprint(r.Prompts), "context": fmt.Sprint(r.Context), "windows": fmt.Sprint(r.LossWindows), "levels": fmt.Sprint(r.Levels)}
	if name := r.method.Name(); name != score.AMP().Name() {
		id["score"] = name
	}
	if r.Refit {
		id["refit"] = fmt.Sprintf("damping %v", refit.FactorDamping)
	}
	return id
}

// scores measures the importance of heads and neurons, or reads it.
func (r *run) scores(ctx context.Context) error {
	c := r.base.Config()
	path := filepath.Join(r.dir(), scoresFile)
	var stored struct {
		Key    map[string]string `json:"key"`
		Scores *plan.Scores      `json:"scores"`
	}
	key := r.identity()
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &stored) == nil && stored.Scores != nil && fmt.Sprint(stored.Key) == fmt.Sprint(key) {
		r.headOrder, r.neuronOrder = orders(c, stored.Scores)
		return nil
	}
	m, err := model.Load(r.dev, r.base)
	if err != nil {
		return err
	}
	defer m.Close()
	scores, err := score.Measure(ctx, r.method, m, score.Calibration{Prompts: r.prompts, Weights: r.base,
		Tick: r.Progress.Counter(0, r.method.Name()+" scores", len(r.prompts))})
	if err != nil {
		return err
	}
	stored.Key, stored.Scores = key, scores
	data, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	r.headOrder, r.neuronOrder = orders(c, scores)
	return renameio.WriteFile(path, data, 0o666)
}

// openReference caches the base's states on all windows.
func (r *run) openReference(ctx context.Context) error {
	identity, err := json.Marshal([]any{r.identity(), r.Windows, r.dev.Capabilities().Name})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(identity)
	key := hex.EncodeToString(sum[:])
	path := filepath.Join(r.dir(), statesFile+"-"+key[:8])
	if r.reference, err = criterion.OpenCachedReference(path, key, r.dev, r.base, r.windows); err == nil {
		return nil
	}
	m, err := model.Load(r.dev, r.base)
	if err != nil {
		return err
	}
	err = criterion.CacheReference(ctx, path, key, m, r.windows, nil, r.Progress.Counter(0, "reference states", len(r.windows)))
	if m.Close(); err != nil {
		return err
	}
	r.reference, err = criterion.OpenCachedReference(path, key, r.dev, r.base, r.windows)
	return err
}

func (r *run) close() {
	if r.reference != nil {
		r.reference.Close()
	}
}

// shareLosses measures the losses of blocks, or waits until another job has.
func (r *run) shareLosses(ctx context.Context) (*losses, error) {
	unlock, err := r.lock(ctx, r.dir())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r.shared, err = openValues(filepath.Join(r.dir(), lossesFile), r.identity()); err != nil {
		return nil, err
	}
	defer r.shared.close()
	return r.measureLosses(ctx)
}

func (r *run) jobDir(target float64) string {
	return filepath.Join(r.dir(), filepath.Base(ModelDir(r.Out, target, r.Seed)))
}

// search finds and writes the model of one target.
func (r *run) search(ctx context.Context, target float64, x *losses, k cost) (Model, error) {
	m := Model{Dir: ModelDir(r.Out, target, r.Seed), Target: target}
	if err := os.MkdirAll(r.jobDir(target), 0o777); err != nil {
		return m, err
	}
	unlock, err := checkpoint.Lock(r.jobDir(target))
	if errors.Is(err, checkpoint.ErrBusy) {
		slog.Info("another job is searching for this model", "model", m.Dir)
		m.Skipped = true
		return m, nil
	} else if err != nil {
		return m, err
	}
	defer unlock()
	identity := r.identity()
	identity["objective"] = fmt.Sprintf("%s of %+v, table %s", r.Objective, r.Workload, r.Identity)
	identity["evolution"] = fmt.Sprintf("several divisions, %d windows, %d offspring, %d generations of %v", r.Windows, r.Offspring, r.Generations, r.Time)
	if r.keepsAttention(r.Attention) {
		identity["blocks"] = "attention is kept"
	}
	if r.Short > 0 {
		identity["short recovery"] = fmt.Sprint(r.Short, " steps on ", r.texts["recovery"], " ", r.Recipe.Settings())
	}
	if r.own, err = openValues(filepath.Join(r.jobDir(target), "evaluations.jsonl"), identity); err != nil {
		return m, err
	}
	defer r.own.close()
	g, err := r.start(ctx, target, x, &k)
	if err != nil {
		return m, err
	}
	j := &job{run: r, target: target, cost: &k, own: r.own}
	if g, err = j.chooseDivision(ctx, g, x); err != nil {
		return m, err
	}
	if m.StartKL, err = j.evaluate(ctx, g, r.Windows); err != nil {
		return m, err
	}
	if g, err = j.evolve(ctx, g); err != nil {
		return m, err
	}
	if r.Short > 0 {
		if g, err = j.chooseRecovered(ctx, g); err != nil {
			return m, err
		}
	}
	if m.KL, err = j.evaluate(ctx, g, r.Windows); err != nil {
		return m, err
	}
	m.Cost = k.share(r.base.Config().Layers, r.shapes(g))
	m.Plan = r.plan(g, target, m)
	s := r.state(g)
	return m, prune.WriteModel(r.base, r.Model, r.HFType, r.Resume, m.Dir, m.Plan, s, r.refits.weights(r.base.Config(), s.Layers))
}

// start divides the target over the blocks. If models are measured, the predicted share is
// corrected until the measured one is the target, or nearly.
func (r *run) start(ctx context.Context, target float64, x *losses, k *cost) (genome, error) {
	g, err := r.divide(x, k, target, r.keepsAttention(r.Attention))
	if err != nil || r.Measure == nil || r.Objective != "latency" {
		return g, err
	}
	base := r.base.Config().Layers
	slope, before, measuredBefore := 1.0, 0.0, 0.0 // of the predicted share by the measured one
	for n := range 4 {
		measured, err := r.measuredShare(ctx, r.shapes(g))
		if err != nil {
			return g, err
		}
		predicted := k.share(base, r.shapes(g)) / k.factor
		if d := measured - measuredBefore; n > 0 && math.Abs(d) > 1e-3 {
			slope = min(max(0.25, (predicted-before)/d), 4)
		}
		before, measuredBefore = predicted, measured
		if math.Abs(measured-target) < 0.005 {
			break
		}
		aim := predicted + slope*(target-measured)
		if aim <= 0 {
			return g, fmt.Errorf("beyond reach: a model of %.3f of the predicted time takes %.3f of the measured one", predicted, measured)
		}
		k.factor = target / aim
		if g, err = r.divide(x, k, target, r.keepsAttention(r.Attention)); err != nil {
			return g, err
		}
	}
	return g, nil
}

// measure measures a model once and stores the time.
func (r *run) measure(ctx context.Context, layers []config.LayerShape) (float64, error) {
	text, err := json.Marshal(layers)
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(text)
	key := "ms " + hex.EncodeToString(sum[:8])
	if ms, ok := r.own.values[key]; ok {
		return ms, nil
	}
	dense, base := 0.0, r.base.Config().Layers
	if !slices.Equal(layers, base) {
		if dense, err = r.measure(ctx, base); err != nil {
			return 0, err
		}
	}
	ms, err := r.Measure(ctx, r.dev, r.base.Config(), layers, dense)
	if err != nil {
		return 0, err
	}
	return ms, r.own.add(key, ms)
}

// plan is the plan of a genome: one width step from the base.
func (r *run) plan(g genome, target float64, m Model) *plan.Plan {
	c := r.base.Config()
	width, _ := plan.Options{Rule: "mlp-only"}.Resolve(plan.New(c))
	p := plan.NewPlan(c, width)
	p.Base.Weights, p.Criterion, p.Seed, p.Texts = r.checksum, "search", r.Seed, r.texts
	p.Settings = map[string]any{"objective": r.Objective, "target": target, "share": m.Cost, "kl": m.KL, "kl_before_evolution": m.StartKL, "levels": r.Levels,
		"windows": r.Windows, "loss_windows": r.LossWindows, "context": r.Context, "prompts": r.Prompts, "generations": max(float64(r.Generations), r.own.values["generations"])}
	if name := r.method.Name(); name != score.AMP().Name() {
		p.Settings["score"] = name
	}
	if r.Refit {
		p.Settings[prune.RefitSetting] = true
	}
	if r.Short > 0 {
		p.Settings["short_recovery"] = r.Short
	}
	s := r.state(g)
	p.Add(c, s, plan.Width, "", nil)
	p.Step, p.Target, p.Layers = 1, target, s.Layers
	if r.Objective == "latency" {
		if predictor, err := r.Table.Predictor(r.Workload); err == nil {
			p.PredictLatency(predictor)
		}
	}
	return p
}
