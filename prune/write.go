package prune

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/renameio/v2"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// planFile lies beside every model that a run makes.
const planFile = "plan.json"

// TargetDir is the directory of a target's model under a run's output: 0.20.
func TargetDir(out string, target float64) string {
	name := fmt.Sprintf("%.2f", target)
	if x, err := strconv.ParseFloat(name, 64); err != nil || x != target {
		name = strconv.FormatFloat(target, 'g', -1, 64)
	}
	return filepath.Join(out, name)
}

// writer makes models of a base.
type writer struct {
	base   checkpoint.Source
	dir    string // the base's directory, for the files that are carried along
	hfType string
	resume bool // go on with, and replace, what a run of the same base has made
}

func (r *run) write(dir string, p *plan.Plan, s plan.State) error {
	return writer{r.base, r.Model, r.HFType, r.Resume}.write(dir, p, s)
}

// write makes the directory of a model, unless it is there, whole, from before a
// stop: directories appear only when they are complete.
func (w writer) write(dir string, p *plan.Plan, s plan.State) error {
	specs, c, err := checkpointOf(w.base, s)
	if err != nil {
		return err
	}
	c.Mistral = w.hfType == "mistral"
	if c.RefusedByTransformers5() {
		slog.Warn("transformers 5 refuses this LLaMA, whose heads do not divide its width: --hf-type mistral writes what it loads",
			"model", dir, "heads", c.Layers[0].Heads, "width", c.HiddenSize)
	}
	if c.Mistral && !c.Uniform() {
		slog.Warn("its layers differ: written in mop's own form, whatever the hf type", "model", dir)
	}
	var text bytes.Buffer
	if err := p.Write(&text); err != nil {
		return err
	}
	if old, err := os.ReadFile(filepath.Join(dir, planFile)); err == nil && w.resume {
		switch same, err := w.sameModel(dir, old, p, c); {
		case err != nil:
			return err
		case same && bytes.Equal(old, text.Bytes()):
			return nil
		case same: // another target has been asked for beside it: only the plan tells
			return renameio.WriteFile(filepath.Join(dir, planFile), text.Bytes(), 0o666)
		}
	}
	err = checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{Replace: w.resume, Wrapper: checkpoint.MultimodalWrapperOf(w.base), Files: checkpoint.SideFiles(w.dir), Data: map[string][]byte{planFile: text.Bytes()}})
	if errors.Is(err, os.ErrExist) || errors.Is(err, checkpoint.ErrExists) {
		return fmt.Errorf("%s: exists already: give --resume or another --out", dir)
	}
	return err
}

// sameModel reports whether a directory with the plan old holds the weights and
// the config that p makes. One that is of another base is not replaced.
func (w writer) sameModel(dir string, old []byte, p *plan.Plan, c *config.Config) (bool, error) {
	q, err := plan.Parse(old)
	if err != nil {
		return false, fmt.Errorf("%s: %w: not a run's: give another --out", filepath.Join(dir, planFile), err)
	}
	if q.Base.Weights != p.Base.Weights || q.Base.Params != p.Base.Params {
		return false, fmt.Errorf("%s: exists, made of another model: give another --out", dir)
	}
	text, err := config.Marshal(c)
	if err != nil {
		return false, err
	}
	there, err := os.ReadFile(filepath.Join(dir, "config.json"))
	return err == nil && bytes.Equal(text, there) && q.SameLayers(p), nil
}
