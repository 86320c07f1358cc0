package prune

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/google/renameio/v2"

	"mop/prune/plan"
	"mop/prune/surgery"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/modelcard"
)

// planFile is the plan in the directory of every model.
const planFile = "plan.json"

// TargetDir is the directory of a target's model, such as OUT/0.20.
func TargetDir(out string, target float64) string {
	name := fmt.Sprintf("%.2f", target)
	if x, err := strconv.ParseFloat(name, 64); err != nil || x != target {
		name = strconv.FormatFloat(target, 'g', -1, 64)
	}
	return filepath.Join(out, name)
}

// writer writes pruned models of a base.
type writer struct {
	base   checkpoint.Source
	dir    string // the base's directory, whose tokenizer and other files are copied
	hfType string
	resume bool // keep or replace a model that a run of the same base has written
	refit  refitted
}

// write writes the directory of a model, unless an interrupted run has written it.
// Directories appear under their names only when they are complete.
func (w writer) write(dir string, p *plan.Plan, s plan.State) error {
	specs, c, err := surgery.Specs(w.base, s.Layers)
	if err != nil {
		return err
	}
	c.SetHFType(w.hfType)
	c.LogHFType(dir)
	var text bytes.Buffer
	if err := p.Write(&text); err != nil {
		return err
	}
	data, err := w.refit.apply(specs)
	if err != nil {
		return err
	}
	if data == nil {
		data = map[string][]byte{}
	}
	if old, err := os.ReadFile(filepath.Join(dir, planFile)); err == nil && w.resume {
		same, err := w.sameModel(dir, old, p, c)
		if err == nil && same && !sameWeights(dir, specs) {
			slog.Warn("the weights of a finished model are not those that the run wrote: it is written again", "model", dir)
			same = false
		}
		switch {
		case err != nil:
			return err
		case same && bytes.Equal(old, text.Bytes()):
			return nil
		case same: // the run has other targets now, which only the plan lists
			return renameio.WriteFile(filepath.Join(dir, planFile), text.Bytes(), 0o666)
		}
	}
	data[planFile] = text.Bytes()
	err = checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{Replace: w.resume, Wrapper: checkpoint.MultimodalWrapperOf(w.base), Files: checkpoint.SideFiles(w.dir),
		Data: data, Card: w.card(p)})
	if errors.Is(err, os.ErrExist) || errors.Is(err, checkpoint.ErrExists) {
		return fmt.Errorf("%s: exists already: give --resume or another --out", dir)
	}
	return err
}

// card is the model card of a plan's model.
func (w writer) card(p *plan.Plan) *modelcard.Card {
	base := modelcard.Name(w.dir)
	return &modelcard.Card{
		Title:    fmt.Sprintf("%s, %.0f %% smaller", base, 100*p.TargetStep().Compression),
		Origin:   fmt.Sprintf("Pruned from `%s` by mop. It was not trained afterwards.", base),
		Sections: []modelcard.Section{{Title: "How it was pruned", Text: p.Markdown()}},
	}
}

// sameWeights reports whether a directory holds exactly the tensors of specs.
func sameWeights(dir string, specs []checkpoint.TensorSpec) bool {
	d, err := checkpoint.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	for _, s := range specs {
		t, err := d.Tensor(s.Name)
		if err != nil || t.DType != s.DType || !slices.Equal(t.Shape, s.Shape) {
			return false
		}
		c := comparer{t.Data}
		if s.Write(&c) != nil || len(c.rest) > 0 {
			return false
		}
	}
	return true
}

// comparer is a writer that fails at the first byte that differs from those it has left.
type comparer struct{ rest []byte }

var errDiffers = errors.New("differs")

func (c *comparer) Write(p []byte) (int, error) {
	if len(p) > len(c.rest) || !bytes.Equal(p, c.rest[:len(p)]) {
		return 0, errDiffers
	}
	c.rest = c.rest[len(p):]
	return len(p), nil
}

// sameModel reports whether a directory whose plan is old holds the weights and the
// config of plan p. It refuses a directory that is of another base.
func (w writer) sameModel(dir string, old []byte, p *plan.Plan, c *config.Config) (bool, error) {
	q, err := plan.Parse(old)
	if err != nil {
		return false, fmt.Errorf("%s: %w: not written by a run: give another --out", filepath.Join(dir, planFile), err)
	}
	if q.Base.Weights != p.Base.Weights || q.Base.Params != p.Base.Params {
		return false, fmt.Errorf("%s: exists, and was made from another model: give another --out", dir)
	}
	if fmt.Sprint(q.Settings[RefitSetting]) != fmt.Sprint(p.Settings[RefitSetting]) {
		return false, nil // the plan of one has the weights of the other, but for the refit
	}
	text, err := config.Marshal(c)
	if err != nil {
		return false, err
	}
	old, err = os.ReadFile(filepath.Join(dir, "config.json"))
	return err == nil && bytes.Equal(text, old) && q.SameLayers(p), nil
}

// WriteModel writes the pruned model of a state and its plan into dir, which appears when
// it is complete. base is the open checkpoint of the directory baseDir. With resume, a
// model that was written before for the same plan is kept. weights are refitted matrices by
// their tensor names; nil = the model is not refitted.
func WriteModel(base checkpoint.Source, baseDir, hfType string, resume bool, dir string, p *plan.Plan, s plan.State, weights map[string][]float32) error {
	return writer{base, baseDir, hfType, resume, refitted{weights: weights}}.write(dir, p, s)
}
