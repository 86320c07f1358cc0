package prune

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"mop/internal/progress"
	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/prune/surgery"
	"mop/runtime/checkpoint"
	"mop/runtime/model"
)

// workDir holds the checkpoints of the candidates, which are mapped like others. It is
// removed at the end of the run.
func (o *Options) workDir() string { return filepath.Join(o.Out, ".work") }

// stateName is the name of a state in file names. It is a checksum of everything that the
// state's weights and scores depend on.
func (r *run) stateName(s plan.State) string {
	data, _ := json.Marshal([]any{r.key, s.Layers})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// candidate is the model of a state, on the device.
type candidate struct {
	*model.Model
	source checkpoint.Source // nil for the base, which the run closes
}

// loadCandidate writes the checkpoint of a state's model into the work directory, unless
// it is there, and loads it. If nothing has been pruned, it loads the base.
func (r *run) loadCandidate(s plan.State) (*candidate, error) {
	specs, c, err := surgery.Specs(r.base, s.Layers)
	if err != nil {
		return nil, err
	}
	if c.Params() == r.base.Config().Params() {
		m, err := model.Load(r.Device, r.base)
		if err != nil {
			return nil, err
		}
		return &candidate{Model: m}, nil
	}
	dir := filepath.Join(r.workDir(), r.stateName(s))
	if complete, err := checkpoint.Open(dir); err == nil {
		complete.Close()
	} else {
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
		if err := checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{}); err != nil {
			return nil, fmt.Errorf("candidate: %w", err)
		}
	}
	return r.loadDir(dir)
}

// loadDir loads a checkpoint.
func (r *run) loadDir(dir string) (*candidate, error) {
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

// weights is the candidate's checkpoint.
func (c *candidate) weights(base checkpoint.Source) checkpoint.Source {
	if c.source == nil {
		return base
	}
	return c.source
}

// close frees the model and unmaps the checkpoint. Its files stay until cleanUp.
func (c *candidate) close() {
	c.Model.Close()
	if c.source != nil {
		c.source.Close()
	}
}

// scoreCandidate scores the model of a state by the criterion, after a short recovery if
// the options ask for one.
func (r *run) scoreCandidate(ctx context.Context, n int, kind plan.Kind, s plan.State) (float64, error) {
	reference, err := r.openReference(ctx)
	if err != nil {
		return 0, err
	}
	scoring := progress.Update{Step: n, Phase: "scoring " + string(kind), Total: 1}
	r.Progress.Report(scoring)
	m, err := r.loadCandidate(s)
	if err != nil {
		return 0, err
	}
	x := criterion.Candidate{Windows: r.inputs.windows, Reference: reference}
	if r.scorer.Needs().Latency {
		if x.DenseLatencyMS, err = r.latency(ctx, plan.New(r.base.Config())); err == nil {
			x.LatencyMS, err = r.latency(ctx, s)
		}
		if err != nil {
			m.close()
			return 0, err
		}
	}
	if r.Recovery.Short > 0 {
		m.close()
		if m, err = r.shortRecovery(ctx, n, kind, s); err != nil {
			return 0, err
		}
		r.Progress.Report(scoring)
	} else {
		x.Prefixes = r.windowPrefixes(s).at
	}
	defer m.close()
	x.Model = m.Model
	return r.scorer.Score(ctx, x)
}

// cleanUp removes everything from the work directory except the reference states and the
// checkpoints of the given states.
func (r *run) cleanUp(keep ...plan.State) error {
	names := []string{referenceFile}
	for _, s := range keep {
		names = append(names, r.stateName(s))
	}
	entries, err := os.ReadDir(r.workDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			if err := os.RemoveAll(filepath.Join(r.workDir(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
