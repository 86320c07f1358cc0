// Package prune is MoP, Mixture of Pruners (arXiv 2602.06127): at every step cut
// the third-to-last layer, or cut heads and neurons everywhere, keep the better
// branch. What flows in: a checkpoint, texts and options. What flows out: one
// smaller checkpoint for each target, with the plan that made it.
package prune

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/checkpoint"
	"mop/runtime/model"
)

// Progress is told what a run is doing: done of total units of a named phase.
type Progress func(step int, phase string, done, total int)

// run is one pruning run.
type run struct {
	Options
	base    checkpoint.Source
	ref     *model.Model // the base on the device, where a criterion compares with it
	texts   *texts
	journal *journal
	width   plan.Options
}

// Run prunes and returns the plan of the whole path. It may be stopped at any
// moment; with Resume it goes on from the last finished step and ends in the
// same bytes.
func Run(ctx context.Context, o Options) (*plan.Plan, error) {
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	if err := checkpoint.CheckFinite(base); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	r := &run{Options: o, base: base}
	if r.width, err = o.Width.Resolve(plan.New(base.Config())); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.texts, err = readTexts(o, base.Config()); err != nil {
		return nil, err
	}
	if r.journal, err = openJournal(o.Out, r.fingerprint(), o.Resume); err != nil {
		return nil, err
	}
	defer r.journal.close()
	if err := os.MkdirAll(r.work(), 0o777); err != nil {
		return nil, err
	}
	if r.scored() && o.Criterion != "ppl" {
		if r.ref, err = model.Load(o.Device, base); err != nil {
			return nil, err
		}
	}
	path, states, err := r.loop(ctx)
	if err != nil {
		return nil, err
	}
	if len(states) == 0 {
		return nil, errors.New("no step is possible: the model is as small as it can be cut")
	}
	if err := r.write(ctx, path, states); err != nil {
		return nil, err
	}
	return path, os.RemoveAll(r.work())
}

func (r *run) scored() bool { return slices.Contains([]string{"cosine", "kl", "ppl"}, r.Criterion) }

func (r *run) work() string { return filepath.Join(r.Out, ".work") }

// loop takes steps until the largest target is reached or none is possible. Steps
// that the journal holds are not taken again.
func (r *run) loop(ctx context.Context) (*plan.Plan, []plan.State, error) {
	c := r.base.Config()
	state := plan.New(c)
	path := plan.Begin(c, r.width)
	path.Criterion, path.Seed, path.Targets = r.Criterion, r.Seed, r.Targets
	path.Sequence, path.Texts, path.Settings = r.Sequence, r.texts.sums, r.settings()
	var states []plan.State
	goal := slices.Max(r.Targets)
	for n := 1; ; n++ {
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
		if err := rec.State.Check(c.Layers); err != nil {
			return nil, nil, fmt.Errorf("step %d: %w", n, err)
		}
		state = rec.State
		states = append(states, state)
		s := path.Add(c, state, rec.Kind, rec.Forced, rec.Scores)
		slog.Info("step", "n", n, "kind", s.Kind, "compression", fmt.Sprintf("%.2f %%", 100*s.Compression), "known", known)
		if s.Compression >= goal {
			return path, states, nil
		}
	}
}

var errSequenceEnds = errors.New("the sequence ends")

// step takes one step from a state.
func (r *run) step(ctx context.Context, n int, s plan.State) (record, error) {
	rec := record{Step: n}
	goal := slices.Max(r.Targets)
	depth := func() (plan.State, error) { return s.WithoutLayer() }
	width := func() (plan.State, error) { return r.narrow(ctx, n, s, 0) }
	if left, last := r.left(s, goal); r.ExactTarget && last {
		next, err := r.narrow(ctx, n, s, left)
		rec.State, rec.Kind, rec.Forced = next, plan.Width, "the exact target needs a width step"
		return rec, err
	}
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
		return r.duel(ctx, n, depth, width)
	}
	var err error
	rec.State, rec.Kind, rec.Forced, err = plan.Take(want, depth, width)
	return rec, err
}

// left is the parameters that still have to go, and whether a whole step would
// pass the goal.
func (r *run) left(s plan.State, goal float64) (float64, bool) {
	c := r.base.Config()
	left := float64(s.Config(c).Params()) - (1-goal)*float64(c.Params())
	return left, left <= s.LayerBudget(c.Dim)
}

// narrow makes the width branch: the model is scored as it stands.
func (r *run) narrow(ctx context.Context, n int, s plan.State, budget float64) (plan.State, error) {
	dim := r.base.Config().Dim
	if _, err := s.Narrowed(dim, plan.Options{Rule: r.width.Rule, RoundTo: r.width.RoundTo, HeadsMultiple: r.width.HeadsMultiple}, budget, nil); err != nil {
		return s, err // nothing to take, known before anything is computed
	}
	m, done, err := r.place(s, fmt.Sprintf("step-%d", n))
	if err != nil {
		return s, err
	}
	defer done()
	at := 0
	scores, err := score.AMP(ctx, m, r.texts.prompts, func() {
		at++
		r.tell(n, "AMP scores", at, len(r.texts.prompts))
	})
	if err != nil {
		return s, err
	}
	return s.Narrowed(dim, r.width, budget, scores)
}

// duel makes both branches, scores them against the base and keeps the better.
func (r *run) duel(ctx context.Context, n int, depth, width func() (plan.State, error)) (record, error) {
	rec := record{Step: n, Scores: map[plan.Kind]*float64{}}
	d, errD := depth()
	w, errW := width()
	for _, err := range []error{errD, errW} {
		if err != nil && !errors.Is(err, plan.ErrDepth) && !errors.Is(err, plan.ErrWidth) {
			return rec, err
		}
	}
	switch {
	case errD != nil && errW != nil:
		return rec, errors.Join(errD, errW)
	case errD != nil:
		return record{Step: n, Kind: plan.Width, State: w, Forced: errD.Error()}, nil
	case errW != nil:
		return record{Step: n, Kind: plan.Depth, State: d, Forced: errW.Error()}, nil
	}
	result := map[plan.Kind]float64{}
	for _, c := range []struct {
		kind  plan.Kind
		state plan.State
	}{{plan.Depth, d}, {plan.Width, w}} {
		r.tell(n, "scoring "+string(c.kind), 0, 1)
		m, done, err := r.place(c.state, fmt.Sprintf("step-%d-%s", n, c.kind))
		if err != nil {
			return rec, err
		}
		x, err := criterion.Score(ctx, r.Criterion, r.ref, m, r.texts.windows)
		done()
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
	return rec, nil
}

// place writes a state's checkpoint under .work, maps it and loads it; done
// removes it again. The base itself is used where nothing is cut.
func (r *run) place(s plan.State, name string) (*model.Model, func(), error) {
	specs, c, err := checkpointOf(r.base, s)
	if err != nil {
		return nil, nil, err
	}
	if c.Params() == r.base.Config().Params() {
		m, err := model.Load(r.Device, r.base)
		return m, func() {}, err
	}
	dir := filepath.Join(r.work(), name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, nil, err
	}
	if err := checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{}); err != nil {
		return nil, nil, err
	}
	src, err := checkpoint.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	done := func() {
		src.Close()
		os.RemoveAll(dir)
	}
	m, err := model.Load(r.Device, src)
	if err != nil {
		done()
		return nil, nil, err
	}
	return m, done, nil
}

func (r *run) tell(step int, phase string, done, total int) {
	if r.Progress != nil {
		r.Progress(step, phase, done, total)
	}
}
