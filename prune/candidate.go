package prune

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/prune/surgery"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// work is where candidates live, mapped, as real checkpoints; it goes when the
// run ends.
func (o *Options) work() string { return filepath.Join(o.Out, ".work") }

// statesFile keeps the base's residual streams, under work.
const statesFile = "base-states"

// name is a state's in file names: it stands for all that the state's weights
// and scores depend on.
func (r *run) name(s plan.State) string {
	data, _ := json.Marshal([]any{r.key, s.Layers})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// candidate is a state's checkpoint, on the device.
type candidate struct {
	*model.Model
	source checkpoint.Source // nil where it is the base's own
}

// loadCandidate writes a state's checkpoint under work, unless it is there whole, maps it
// and loads it. The base itself is used where nothing is cut.
func (r *run) loadCandidate(s plan.State) (*candidate, error) {
	specs, c, err := checkpointOf(r.base, s)
	if err != nil {
		return nil, err
	}
	if c.Params() == r.base.Config().Params() {
		m, err := model.Load(r.Device, r.base)
		return &candidate{Model: m}, err
	}
	dir := filepath.Join(r.work(), r.name(s))
	if whole, err := checkpoint.Open(dir); err == nil {
		whole.Close()
	} else {
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
		if err := checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{}); err != nil {
			return nil, fmt.Errorf("candidate: %w", err)
		}
	}
	return r.load(dir)
}

// load maps a checkpoint and loads it.
func (r *run) load(dir string) (*candidate, error) {
	src, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	m, err := model.Load(r.Device, src)
	if err != nil {
		src.Close()
		return nil, err
	}
	return &candidate{m, src}, nil
}

// close unmaps the checkpoint, which stays until it is swept.
func (c *candidate) close() {
	if c.source != nil {
		c.source.Close()
	}
}

// cleanUp removes what lies under work, but the base's states and the checkpoints
// of the given models.
func (r *run) cleanUp(keep ...plan.State) error {
	names := []string{statesFile}
	for _, s := range keep {
		names = append(names, r.name(s))
	}
	entries, err := os.ReadDir(r.work())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			if err := os.RemoveAll(filepath.Join(r.work(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkpointOf lists the tensors of a state.
func checkpointOf(base checkpoint.Source, s plan.State) ([]checkpoint.TensorSpec, *config.Config, error) {
	return surgery.Specs(base, slices.Clone(s.Layers))
}

// openReference is the base as the criteria see it: its forward pass is done once a
// run, at the first comparison, and kept in a file.
func (r *run) openReference(ctx context.Context) (metric.Reference, error) {
	if !criterion.Compares(r.Criterion) || r.reference != nil {
		return r.reference, nil
	}
	path, key := filepath.Join(r.work(), statesFile), r.key+" "+r.Device.Capabilities().Name
	kept, err := criterion.OpenCachedReference(path, key, r.Device, r.base, r.texts.windows)
	if err != nil {
		slog.Debug("the base runs over the windows", "why", err)
		if err := checkpoint.CheckFree(r.work(), criterion.CachedReferenceBytes(r.base.Config().HiddenSize, r.texts.windows)); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		m, err := model.Load(r.Device, r.base)
		if err != nil {
			return nil, err
		}
		if err := criterion.CacheReference(ctx, path, key, m, r.texts.windows, r.windowPrefix(plan.New(r.base.Config())), r.Progress.Counter(1, "reference states", len(r.texts.windows))); err != nil {
			return nil, err
		}
		if kept, err = criterion.OpenCachedReference(path, key, r.Device, r.base, r.texts.windows); err != nil {
			return nil, err
		}
	}
	r.reference = kept
	return kept, nil
}
