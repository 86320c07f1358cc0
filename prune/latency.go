package prune

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"mop/prune/plan"
	"mop/runtime/config"
	"mop/runtime/device"
)

// LatencyFunc returns the latency in milliseconds of the base model with other layers.
// dense is the base's own latency, and 0 when that is what is asked for: a measured
// latency is a share of the base's, so that it does not depend on when it was measured.
type LatencyFunc func(ctx context.Context, dev device.Device, base *config.Config, layers []config.LayerShape, dense float64) (float64, error)

// latenciesFile holds the measured latencies in the output directory, by the layers. A
// model is measured once, so that a run that resumes decides as before.
const latenciesFile = "latencies.json"

// measuredLatency returns the measured latency of a state's model.
func (r *run) measuredLatency(ctx context.Context, s plan.State) (float64, error) {
	dense := 0.0
	if base := plan.New(r.base.Config()); !slices.Equal(s.Shapes(), base.Shapes()) {
		var err error
		if dense, err = r.measuredLatency(ctx, base); err != nil {
			return 0, err
		}
	}
	path := filepath.Join(r.Out, latenciesFile)
	all := map[string]float64{}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s: %w: remove it to measure again", path, err)
	}
	layers, err := json.Marshal(s.Shapes())
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(layers)
	key := hex.EncodeToString(sum[:8])
	if ms, ok := all[key]; ok && ms > 0 {
		return ms, nil
	}
	ms, err := r.MeasureLatency(ctx, r.Device, r.base.Config(), s.Shapes(), dense)
	if err != nil {
		return 0, fmt.Errorf("latency: %w", err)
	}
	all[key] = ms
	if data, err = json.MarshalIndent(all, "", " "); err != nil {
		return 0, err
	}
	return ms, renameio.WriteFile(path, append(data, '\n'), 0o666)
}

// latency is what the criterion compares: predicted, or measured where nothing predicts.
func (r *run) latency(ctx context.Context, s plan.State) (float64, error) {
	if r.PredictLatency != nil {
		return r.PredictLatency(ctx, r.Device, r.base.Config(), s.Shapes(), 0)
	}
	return r.measuredLatency(ctx, s)
}

// latencyShare is the measured latency of a state's model as a share of the base's.
func (r *run) latencyShare(ctx context.Context, s plan.State) (float64, error) {
	dense, err := r.measuredLatency(ctx, plan.New(r.base.Config()))
	if err != nil {
		return 0, err
	}
	ms, err := r.measuredLatency(ctx, s)
	return ms / dense, err
}

// latencyTolerance is how far from its target a measured latency may be, as a share of
// the dense model's.
const latencyTolerance = 0.005

// latencyTarget meets a target latency: the path's first model that is at most that slow,
// or better one that leaves the path before it by a width step whose size is found by
// bisection.
func (r *run) latencyTarget(ctx context.Context, path *plan.Plan, states []plan.State, target float64) (targetModel, error) {
	after := -1
	for n, s := range states {
		share, err := r.latencyShare(ctx, s)
		if err != nil {
			return targetModel{}, err
		}
		if share <= target+latencyTolerance {
			after = n
			break
		}
	}
	if after <= 0 {
		return targetModel{}, fmt.Errorf("target latency %v: want a share that the path reaches and the dense model does not, its last model of %d steps is slower", target, len(states)-1)
	}
	before := states[after-1]
	c := r.base.Config()
	low, high := 0.0, 1.5*float64(before.Config(c).Params()-states[after].Config(c).Params())
	for range 8 {
		budget := (low + high) / 2
		s, err := r.pruneWidth(ctx, after, before, max(budget, 1))
		if errors.Is(err, plan.ErrWidth) {
			high = budget
			continue
		}
		if err != nil {
			return targetModel{}, err
		}
		share, err := r.latencyShare(ctx, s)
		if err != nil {
			return targetModel{}, err
		}
		if math.Abs(share-target) <= latencyTolerance {
			p := *path
			p.Steps = slices.Clone(path.Steps[:after-1])
			why := fmt.Sprintf("the target latency is met by a width step: %.3f of the dense model's", share)
			if r.LatencyPredicted {
				why += ", predicted"
			}
			p.Add(c, s, plan.Width, why, nil)
			return newTargetModel(&p, after, target, s), r.cleanUp()
		}
		if share > target {
			low = budget
		} else {
			high = budget
		}
	}
	share, err := r.latencyShare(ctx, states[after])
	if err != nil {
		return targetModel{}, err
	}
	slog.Warn("the target latency is not met exactly: the path's next model is taken", "target", target, "latency", fmt.Sprintf("%.3f", share))
	p := *path
	return newTargetModel(&p, after, target, states[after]), nil
}

// trial is a model that a method without a path has made of the dense one.
type trial struct {
	budget float64 // parameters that it was to lose
	share  float64 // its latency, of the dense model's
	state  plan.State
	why    string
}

// latencyAtOnce meets a target latency by a method without a path: by the number of parameters
// that it removes from the dense model. Where no number meets it, the slowest model that was
// found to be faster is taken.
func (r *run) latencyAtOnce(ctx context.Context, path *plan.Plan, states []plan.State, target float64) (targetModel, error) {
	c := r.base.Config()
	reach, err := r.method.Reach(c, r.width)
	if err != nil {
		return targetModel{}, err
	}
	most := reach * float64(c.Params())
	slow, fast := trial{share: 1, state: states[0]}, trial{budget: math.Inf(1)}
	for budget := (1 - target) * float64(c.Params()); ; budget = nextBudget(slow, fast, target) {
		t := trial{budget: min(max(budget, 1), most)}
		if t.state, t.why, err = r.pruneToTarget(ctx, 1, states[0], t.budget); err != nil {
			return targetModel{}, fmt.Errorf("target latency %v: %w", target, err)
		}
		if t.share, err = r.latencyShare(ctx, t.state); err != nil {
			return targetModel{}, err
		}
		same := func(other trial) bool { return slices.Equal(t.state.Shapes(), other.state.Shapes()) }
		narrow := same(slow) && !math.IsInf(fast.budget, 1) || same(fast) // a neuron of each layer is the smallest step
		if t.share > target+latencyTolerance {
			if t.budget == most {
				return targetModel{}, fmt.Errorf("target latency %v: method %s can remove %.0f %% of the parameters at most, which leaves %.3f of the dense model's latency: want a larger share", target, r.method.Name(), 100*reach, t.share)
			}
			slow = t
		} else {
			fast = t
		}
		if met := math.Abs(t.share-target) <= latencyTolerance; met || narrow {
			if !met {
				slog.Warn("the target latency is not met exactly: the next faster model is taken", "target", target, "latency", fmt.Sprintf("%.3f", fast.share))
			}
			p := *path
			p.Steps = nil
			p.Add(c, fast.state, plan.Width, fast.why, nil)
			return newTargetModel(&p, 1, target, fast.state), r.cleanUp()
		}
	}
}

// nextBudget is where the latency would meet the target if it were a line in the number of
// parameters that are removed: between two models, or on from the dense one. Of an
// interval of two models at least an eighth goes, so that any other curve is followed too.
func nextBudget(slow, fast trial, target float64) float64 {
	switch {
	case math.IsInf(fast.budget, 1) && slow.share < 1:
		return max(slow.budget*(1-target)/(1-slow.share), 1.01*slow.budget)
	case math.IsInf(fast.budget, 1): // no gain yet
		return 2 * slow.budget
	}
	width := fast.budget - slow.budget
	at := slow.budget + width*(slow.share-target)/max(slow.share-fast.share, 1e-9)
	return min(max(at, slow.budget+width/8), fast.budget-width/8)
}

// validateLatency checks that what the options need of latencies is there.
func (r *run) validateLatency() error {
	needs := r.TargetLatency
	if r.scorer != nil && r.scorer.Needs().Latency {
		if r.PredictLatency == nil && r.MeasureLatency == nil {
			return fmt.Errorf("criterion %s: want a latency table or a device to measure on", r.Criterion)
		}
	}
	if needs && r.MeasureLatency == nil {
		return errors.New("target latency: want a device to measure on")
	}
	if needs && r.ExactTarget {
		return errors.New("target latency: is met by a last width step anyway: leave out the exact target")
	}
	return nil
}
