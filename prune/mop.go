// Package prune is MoP, Mixture of Pruners (arXiv 2602.06127): at every step cut
// the third-to-last layer, or cut heads and neurons everywhere, keep the better
// branch. What flows in: a checkpoint, texts and options. What flows out: one
// smaller checkpoint for each target, with the plan that made it.
package prune

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"

	"mop/internal/progress"
	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
)

// run is one pruning run.
type run struct {
	Options
	base      checkpoint.Source
	weights   string                     // checkpoint.Sum of the base
	reference *criterion.CachedReference // the base's states, once a criterion has asked for them
	texts     *texts
	training  map[string]string // what of the identity the candidates' training is
	journal   *journal
	width     plan.Options // resolved
	prefixes  prefixCache
	key       string // names the run, its identity's sum
}

// Run prunes and returns the plan of each target's model, in their order. It may
// be stopped at any moment, killed too; with Resume it goes on from the last
// finished step and ends in the same bytes.
func Run(ctx context.Context, o Options) ([]*plan.Plan, error) {
	// Garbage here is a few large arrays: left to grow to the size of what lives, it
	// would double the anonymous memory, and collecting it costs next to nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	if err := o.Check(); err != nil {
		return nil, err
	}
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	if err := o.checkPaths(); err != nil {
		return nil, err
	}
	r := &run{Options: o, base: base}
	if r.width, err = o.Width.Resolve(plan.New(base.Config())); err != nil {
		return nil, err
	}
	if err := r.checkReach(); err != nil {
		return nil, err
	}
	if r.texts, err = readTexts(o, base.Config()); err != nil {
		return nil, err
	}
	if err := o.Recovery.readable(&o, base.Config().MaxPositions); err != nil {
		return nil, err
	}
	if err := checkpoint.CheckFinite(base); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	if r.weights, err = checkpoint.Checksum(base); err != nil {
		return nil, err
	}
	if r.training, err = o.Recovery.identity(); err != nil {
		return nil, err
	}
	identity, err := json.Marshal(r.identity())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(identity)
	r.key = hex.EncodeToString(sum[:])
	return r.runAll(ctx)
}

// runAll begins the run's directory, or goes on in it, and takes every step.
func (r *run) runAll(ctx context.Context) ([]*plan.Plan, error) {
	if err := os.MkdirAll(r.Out, 0o777); err != nil {
		return nil, err
	}
	unlock, err := checkpoint.Lock(r.Out)
	if errors.Is(err, checkpoint.ErrBusy) {
		return nil, fmt.Errorf("%s: another run is at work here", r.Out)
	} else if err != nil {
		return nil, err
	}
	defer unlock()
	var states int64
	if r.scored() && criterion.Compares(r.Criterion) {
		states = criterion.CachedReferenceBytes(r.base.Config().HiddenSize, r.texts.windows)
	}
	if r.scored() {
		states += prefixBytes(r.base.Config().HiddenSize, r.texts.windows, r.texts.prompts)
	}
	if err := r.checkRoom(states); err != nil {
		return nil, err
	}
	if r.journal, err = openJournal(r.Out, r.identity()); err != nil {
		return nil, err
	}
	defer r.journal.close()
	if err := os.MkdirAll(r.work(), 0o777); err != nil {
		return nil, err
	}
	defer func() {
		r.prefixes.drop(func(*cachedPrefix) bool { return true })
		if r.reference != nil {
			r.reference.Close()
		}
	}()
	slog.Info("prune", "criterion", r.Criterion, "rule", r.width.Rule, "allocation", r.width.Allocation, "seed", r.Seed,
		"prompts", len(r.texts.prompts), "windows", len(r.texts.windows), "context", min(r.Context, r.base.Config().MaxPositions))
	path, along, err := r.search(ctx)
	if err != nil {
		return nil, err
	}
	models, err := r.selectTargets(ctx, path, along)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(r.work()); err != nil {
		return nil, err
	}
	plans := make([]*plan.Plan, len(models))
	for i, m := range models {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.write(TargetDir(r.Out, m.plan.Target), m.plan, m.state); err != nil {
			return nil, err
		}
		plans[i] = m.plan
	}
	for _, m := range models {
		if !r.Recovery.Final {
			break
		}
		if err := r.finalRecovery(ctx, m.plan.Target); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

// search takes steps until the largest target is reached or none is possible, and
// returns the path and the states along it, the base first. Steps that the
// journal holds are not taken again.
func (r *run) search(ctx context.Context) (*plan.Plan, []plan.State, error) {
	c := r.base.Config()
	state := plan.New(c)
	path := plan.NewPlan(c, r.width)
	path.Base.Weights = r.weights
	path.Criterion, path.Seed, path.Targets = r.Criterion, r.Seed, r.Targets
	path.Sequence, path.Texts, path.Settings = r.Sequence, r.texts.sums, r.settings()
	states := []plan.State{state}
	goal := slices.Max(r.Targets)
	for n := 1; ; n++ {
		if r.ExactTarget && r.remaining(state, goal) <= state.LayerBudget(c.HiddenSize) {
			return path, states, nil // another whole step would pass the goal
		}
		rec, known := r.journal.step(n)
		if !known {
			var err error
			rec, err = r.step(ctx, n, state)
			if errors.Is(err, plan.ErrDepth) && errors.Is(err, plan.ErrWidth) || errors.Is(err, errSequenceEnds) {
				return path, states, nil
			}
			if err != nil {
				return nil, nil, err
			}
			if err := r.journal.add(rec); err != nil {
				return nil, nil, err
			}
		}
		state = rec.State
		s := path.Add(c, state, rec.Kind, rec.Forced, rec.Scores)
		at := *path
		at.Step, at.Layers, at.Groups = n, state.Layers, state.Groups
		if err := at.Check(); err != nil {
			return nil, nil, fmt.Errorf("%s: step %d: %w", r.journal.path, n, err)
		}
		states = append(states, state)
		message := "step"
		if known {
			message = "step that was taken before"
		}
		slog.Info(message, "n", n, "kind", s.Kind, "compression", fmt.Sprintf("%.2f %%", 100*s.Compression))
		if s.Compression >= goal {
			return path, states, nil
		}
	}
}

var errSequenceEnds = errors.New("the sequence ends")

// step takes one step from a state.
func (r *run) step(ctx context.Context, n int, s plan.State) (record, error) {
	rec := record{Step: n}
	width := func() (plan.State, error) { return r.pruneWidth(ctx, n, s, 0) }
	var want plan.Kind
	switch {
	case r.Criterion == "random":
		want = plan.Coin(r.Seed, n)
	case r.Criterion == "sequence":
		kinds, err := plan.ParseSequence(r.Sequence)
		if err != nil {
			return rec, err
		}
		if n > len(kinds) {
			return rec, errSequenceEnds
		}
		want = kinds[n-1]
	default:
		return r.compareCandidates(ctx, n, s.PruneDepth, width)
	}
	var err error
	if rec.State, rec.Kind, rec.Forced, err = plan.TakeStep(want, s.PruneDepth, width); err != nil {
		return rec, err
	}
	return rec, r.cleanUp()
}

// pruneWidth makes the width branch of a budget, 0 = a step's: the model is scored as
// it stands.
func (r *run) pruneWidth(ctx context.Context, n int, s plan.State, budget float64) (plan.State, error) {
	dim := r.base.Config().HiddenSize
	sizes := r.width
	sizes.Allocation = "uniform" // which is what a budget can be held to without scores
	if _, err := s.PruneWidth(dim, sizes, budget, nil); err != nil {
		return s, err // nothing to take, known before anything is computed
	}
	scores, err := r.amp(ctx, n, s)
	if err != nil {
		return s, err
	}
	return s.PruneWidth(dim, r.width, budget, scores)
}

// compareCandidates makes both branches, scores them against the base and keeps the better.
func (r *run) compareCandidates(ctx context.Context, n int, depth, width func() (plan.State, error)) (record, error) {
	rec := record{Step: n, Scores: map[plan.Kind]*float64{}}
	d, errD := depth()
	w, errW := width()
	for _, err := range []error{errD, errW} {
		if err != nil && !errors.Is(err, plan.ErrDepth) && !errors.Is(err, plan.ErrWidth) {
			return rec, err
		}
	}
	if err := r.cleanUp(d, w); err != nil { // the model that was scored has done its part
		return rec, err
	}
	switch {
	case errD != nil && errW != nil:
		return rec, errors.Join(errD, errW)
	case errD != nil:
		r.prefixes.settle(w)
		return record{Step: n, Kind: plan.Width, State: w, Forced: errD.Error()}, nil
	case errW != nil:
		r.prefixes.settle(d)
		return record{Step: n, Kind: plan.Depth, State: d, Forced: errW.Error()}, nil
	}
	result := map[plan.Kind]float64{}
	for _, c := range []struct {
		kind  plan.Kind
		state plan.State
	}{{plan.Depth, d}, {plan.Width, w}} {
		x, err := r.score(ctx, n, c.kind, c.state)
		if err != nil {
			return rec, err
		}
		result[c.kind] = x
		rec.Scores[c.kind] = nil
		if x-x == 0 {
			rec.Scores[c.kind] = &x
		}
	}
	if rec.Scores[plan.Depth] == nil && rec.Scores[plan.Width] == nil {
		return rec, fmt.Errorf("step %d: both candidates have a %s that is not finite", n, r.Criterion)
	}
	rec.Kind, rec.State = plan.Depth, d
	if criterion.Better(r.Criterion, result[plan.Depth], result[plan.Width]) {
		rec.Kind, rec.State = plan.Width, w
	}
	r.prefixes.settle(rec.State)
	return rec, r.cleanUp(rec.State)
}

// score takes a candidate's score by the criterion.
func (r *run) score(ctx context.Context, n int, kind plan.Kind, s plan.State) (float64, error) {
	ref, err := r.openReference(ctx)
	if err != nil {
		return 0, err
	}
	r.Progress.Report(progress.Update{Step: n, Phase: "scoring " + string(kind), Total: 1})
	m, err := r.loadCandidate(s)
	if err != nil {
		return 0, err
	}
	if r.Recovery.Short > 0 {
		if m, err = r.shortRecovery(ctx, n, kind, s, m); err != nil {
			return 0, err
		}
		r.Progress.Report(progress.Update{Step: n, Phase: "scoring " + string(kind), Total: 1})
	}
	defer m.close()
	begin := r.windowPrefix(s)
	if r.Recovery.Short > 0 {
		begin = nil // of other weights
	}
	return criterion.Score(ctx, r.Criterion, ref, m.Model, r.texts.windows, begin)
}
