package prune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"mop/prune/plan"
	"mop/prune/surgery"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// TargetDir is the directory of a target's model under a run's output: 0.20.
func TargetDir(out string, target float64) string {
	name := fmt.Sprintf("%.2f", target)
	if fmt.Sprintf("%g", target) != fmt.Sprintf("%g", mustFloat(name)) {
		name = fmt.Sprintf("%g", target)
	}
	return filepath.Join(out, name)
}

func mustFloat(s string) (x float64) {
	fmt.Sscanf(s, "%g", &x)
	return x
}

// write makes the directory of each target that is not there yet.
func (r *run) write(ctx context.Context, path *plan.Plan, states []plan.State) error {
	taken := map[int]float64{}
	for _, target := range r.Targets {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := plan.Nearest(path.Compressions(), target)
		if other, twice := taken[n]; twice {
			slog.Warn("two targets are nearest to the same step", "step", n, "targets", []float64{other, target})
		}
		taken[n] = target
		if far := path.Steps[n-1].Compression - target; far > 0.05 || far < -0.05 {
			slog.Warn("the nearest step is far from the target", "target", target, "compression", path.Steps[n-1].Compression)
		}
		p := *path
		p.Step, p.Target = n, target
		p.Layers, p.Groups = states[n-1].Layers, states[n-1].Groups
		if err := r.writeOne(TargetDir(r.Out, target), &p, states[n-1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) writeOne(dir string, p *plan.Plan, s plan.State) error {
	specs, c, err := checkpointOf(r.base, s)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := p.Write(&text); err != nil {
		return err
	}
	if old, err := os.ReadFile(filepath.Join(dir, "plan.json")); err == nil && r.Resume && bytes.Equal(old, text.Bytes()) {
		return nil // whole, from before the stop: directories appear only when complete
	}
	err = checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{Replace: r.Resume, Files: checkpoint.SideFiles(r.Model), Data: map[string][]byte{"plan.json": text.Bytes()}})
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s: exists already: give --resume or another --out", dir)
	}
	return err
}

// checkpointOf lists the tensors of a state.
func checkpointOf(base checkpoint.Source, s plan.State) ([]checkpoint.Spec, *config.Config, error) {
	return surgery.Specs(base, slices.Clone(s.Layers))
}

// expected lists the base's tensors.
func expected(src checkpoint.Source) []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, info := range checkpoint.Expected(src.Config()) {
		if t, err := src.Tensor(info.Name); err == nil {
			out = append(out, t)
		}
	}
	return out
}
