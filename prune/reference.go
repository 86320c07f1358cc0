package prune

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/metric"
	"mop/runtime/model"
)

// referenceFile holds the reference states in the work directory.
const referenceFile = "base-states"

// openReference returns the unpruned model as the reference of the criterion, or nil if
// the criterion needs none. Its forward pass is computed once per run, at the first
// comparison, and stored in a file.
func (r *run) openReference(ctx context.Context) (metric.Reference, error) {
	if !r.scorer.Needs().Reference {
		return nil, nil
	}
	if r.reference != nil {
		return r.reference, nil
	}
	path, key := filepath.Join(r.workDir(), referenceFile), r.key+" "+r.Device.Capabilities().Name
	reference, err := criterion.OpenCachedReference(path, key, r.Device, r.base, r.inputs.windows)
	if err != nil {
		slog.Debug("the reference states are computed", "reason", err)
		if err := r.cacheReference(ctx, path, key); err != nil {
			return nil, err
		}
		if reference, err = criterion.OpenCachedReference(path, key, r.Device, r.base, r.inputs.windows); err != nil {
			return nil, err
		}
	}
	r.reference = reference
	return reference, nil
}

// cacheReference runs the base on the windows and stores its states.
func (r *run) cacheReference(ctx context.Context, path, key string) error {
	c := r.base.Config()
	if err := checkpoint.CheckFree(r.workDir(), criterion.CachedReferenceBytes(c.HiddenSize, r.inputs.windows)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	m, err := model.Load(r.Device, r.base)
	if err != nil {
		return err
	}
	defer m.Close()
	return criterion.CacheReference(ctx, path, key, m, r.inputs.windows, r.windowPrefixes(plan.New(c)).at,
		r.Progress.Counter(1, "reference states", len(r.inputs.windows)))
}
