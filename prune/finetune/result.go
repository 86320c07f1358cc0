package finetune

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
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

	// PassTokens is how many tokens of several examples a pass took; 0 = one example.
	PassTokens int `json:"pass_tokens,omitempty"`

	// TokensPerSecond is the median over the steps after the first. It is not stored,
	// since it differs between runs.
	TokensPerSecond float64 `json:"-"`
}

// resultFile is the result in the directory of a fine-tuned model.
const resultFile = "recovery.json"

// storedResult is the content of resultFile.
type storedResult struct {
	*Result
	Run     string `json:"run"`                      // checksum of the identity of the run
	Weights string `json:"weights_sha256,omitempty"` // of the written weights
}

// writeModel writes the fine-tuned model to OUT.
func (r *run) writeModel() error {
	specs, err := mergedTensors(r.source, r.device, r.trainer)
	if err != nil {
		return err
	}
	sums := map[string][sha256.Size]byte{}
	for i := range specs {
		specs[i] = summed(specs[i], sums)
	}
	result := func() (map[string][]byte, error) {
		text, err := json.MarshalIndent(storedResult{r.result, fingerprint(r.id), weightsSum(r.source.Config(), sums)}, "", "  ")
		return map[string][]byte{resultFile: append(text, '\n')}, err
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
	err = checkpoint.Save(r.Out, c, specs, checkpoint.SaveOptions{Wrapper: checkpoint.MultimodalWrapperOf(r.source), Files: sideFiles, Last: result, Card: card})
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
	if !r.Resume || err != nil || json.Unmarshal(text, &stored) != nil {
		return nil, fmt.Errorf("%s: %w: give another --out", r.Out, checkpoint.ErrExists)
	}
	if stored.Run != fingerprint(r.id) {
		return nil, fmt.Errorf("%s: %w, written by another run: %s: give another --out", r.Out, checkpoint.ErrExists, difference(settingsText(stored.Settings), settingsText(r.Settings())))
	}
	if err := checkWeights(r.Out, stored.Weights); err != nil {
		return nil, err
	}
	return stored.Result, os.RemoveAll(filepath.Clean(r.Out) + statesSuffix)
}

// settingsText spells settings as they are compared.
func settingsText(settings map[string]any) map[string]string {
	out := map[string]string{}
	for name, value := range settings {
		text, _ := json.Marshal(value)
		out[name] = string(text)
	}
	return out
}

// summed is a tensor whose checksum is put into sums when it is written.
func summed(s checkpoint.TensorSpec, sums map[string][sha256.Size]byte) checkpoint.TensorSpec {
	name, write := s.Name, s.Write
	s.Write = func(w checkpoint.Writer) error {
		h := sha256.New()
		if err := write(io.MultiWriter(w, h)); err != nil {
			return err
		}
		sums[name] = [sha256.Size]byte(h.Sum(nil))
		return nil
	}
	return s
}

// weightsSum is a checksum of the weights of a model, given those of its tensors.
func weightsSum(c *config.Config, sums map[string][sha256.Size]byte) string {
	h := sha256.New()
	for _, info := range checkpoint.ExpectedTensors(c) {
		fmt.Fprintf(h, "%s %x\n", info.Name, sums[info.Name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkWeights refuses a written model whose weights are not those of the sum. Earlier
// versions stored no sum.
func checkWeights(dir, want string) error {
	m, err := checkpoint.Open(dir)
	if err != nil {
		return fmt.Errorf("the model that the run has written is damaged: %w: remove it, or give another --out", err)
	}
	defer m.Close()
	if want == "" {
		return nil
	}
	sums := map[string][sha256.Size]byte{}
	for _, info := range checkpoint.ExpectedTensors(m.Config()) {
		t, err := m.Tensor(info.Name)
		if err != nil {
			return err
		}
		sums[info.Name] = sha256.Sum256(t.Data)
	}
	if got := weightsSum(m.Config(), sums); got != want {
		return fmt.Errorf("%s: its weights are not those that the run has written: remove it, or give another --out", dir)
	}
	return nil
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
