package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/modelcard"
)

// Result of a run. It is also written to OUT/recovery.json.
type Result struct {
	Steps     int                  `json:"steps"`
	Examples  int                  `json:"examples"`
	Skipped   []dataset.SkippedRow `json:"skipped"`
	FirstLoss float32              `json:"first_loss"` // of the first step, nats
	LastLoss  float32              `json:"last_loss"`  // of the last step
	Trained   int64                `json:"trained_parameters"`
	Data      string               `json:"data_sha256"`
	Settings  map[string]any       `json:"settings"`

	// TokensPerSecond is the median over the steps after the first. It is not stored,
	// since it differs between runs.
	TokensPerSecond float64 `json:"-"`
}

// resultFile is the result in the directory of a fine-tuned model.
const resultFile = "recovery.json"

// storedResult is the content of resultFile.
type storedResult struct {
	*Result
	Run string `json:"run"` // identity of the run
}

// writeModel writes the fine-tuned model to OUT.
func (r *run) writeModel() error {
	specs, err := mergedTensors(r.source, r.device, r.trainer)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(storedResult{r.result, r.id}, "", "  ")
	if err != nil {
		return err
	}
	sideFiles := checkpoint.SideFiles(r.Model)
	if path := filepath.Join(r.Model, "plan.json"); exists(path) {
		sideFiles["plan.json"] = path
	}
	if isEmptyDir(r.Out) {
		if err := os.Remove(r.Out); err != nil {
			return err
		}
	}
	c := r.source.Config().Clone()
	c.SetHFType(r.HFType)
	var card *modelcard.Card
	if !r.Temporary {
		c.LogHFType(r.Out)
		card = r.card()
	}
	err = checkpoint.Save(r.Out, c, specs, checkpoint.SaveOptions{Wrapper: checkpoint.MultimodalWrapperOf(r.source), Files: sideFiles, Data: map[string][]byte{resultFile: append(text, '\n')}, Card: card})
	if errors.Is(err, checkpoint.ErrExists) {
		return fmt.Errorf("%w: give another --out", err)
	}
	return err
}

// previousResult returns the result of the same run if it has written OUT already. It
// refuses an OUT with anything else in it.
func (r *run) previousResult() (*Result, error) {
	if !exists(r.Out) || isEmptyDir(r.Out) {
		return nil, nil
	}
	stored := storedResult{Result: &Result{}}
	text, err := os.ReadFile(filepath.Join(r.Out, resultFile))
	if !r.Resume || err != nil || json.Unmarshal(text, &stored) != nil || stored.Run != r.id {
		return nil, fmt.Errorf("%s: %w: give another --out", r.Out, checkpoint.ErrExists)
	}
	return stored.Result, os.RemoveAll(filepath.Clean(r.Out) + statesSuffix)
}

// checkSkipped logs the rows that were skipped, or refuses them with Strict. err is the
// error of reading the rows.
func checkSkipped(o *Options, skipped []dataset.SkippedRow, err error) error {
	if len(skipped) > 0 && o.Strict {
		return fmt.Errorf("%s: row %d: %s (%d such rows)", o.Data, skipped[0].Row, skipped[0].Reason, len(skipped))
	}
	if err != nil {
		return err
	}
	dataset.LogSkipped(o.Data, skipped)
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// isEmptyDir reports whether a path is a directory without entries, and not a link to one.
func isEmptyDir(path string) bool {
	if info, err := os.Lstat(path); err != nil || !info.IsDir() {
		return false
	}
	entries, err := os.ReadDir(path)
	return err == nil && len(entries) == 0
}
