package prune

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"mop/prune/plan"
	"mop/prune/score"
)

// scoresDir holds the importance scores of every model that was scored, in the output
// directory, so that another target needs no forward pass for a model that was scored
// before. A file has two lines: the sha256 of the second line, and the scores as JSON.
const scoresDir = "scores"

// importance returns the importance scores of a state's model, from their file if it
// exists.
func (r *run) importance(ctx context.Context, n int, s plan.State) (*plan.Scores, error) {
	path := filepath.Join(r.Out, scoresDir, r.stateName(s)+".json")
	if scores, err := readScores(path); err != nil {
		slog.Warn("stored scores cannot be used and are measured again", "file", path, "error", err)
	} else if scores != nil {
		return scores, nil
	}
	m, err := r.loadCandidate(s)
	if err != nil {
		return nil, err
	}
	defer m.close()
	prefixes := r.promptPrefixes(s)
	scores, err := score.Measure(ctx, r.score, m.Model, score.Calibration{
		Prompts:  r.inputs.prompts,
		Prefixes: prefixes.at,
		Known:    prefixes.scores(),
		Weights:  m.weights(r.base),
		Tick:     r.Progress.Counter(n, r.score.Name()+" scores", len(r.inputs.prompts)),
	})
	if err != nil {
		return nil, err
	}
	if err := checkScores(scores); err != nil {
		return nil, fmt.Errorf("%s: calibration on %s: %w", r.Model, r.Calibration, err)
	}
	prefixes.setScores(scores)
	return scores, writeScores(path, scores, r.workDir())
}

// checkScores refuses scores that are not finite, which order nothing.
func checkScores(s *plan.Scores) error {
	for _, kind := range []struct {
		name   string
		scores [][]float64
	}{{"head", s.Heads}, {"neuron", s.Neurons}} {
		for layer, scores := range kind.scores {
			for i, x := range scores {
				if x-x != 0 {
					return fmt.Errorf("layer %d: the score of %s %d is %v: the model's activations are not finite", layer, kind.name, i, x)
				}
			}
		}
	}
	return nil
}

// writeScores writes the file so that it appears complete. Its temporary file is in the
// work directory, where it is removed after a kill.
func writeScores(path string, s *plan.Scores, workDir string) error {
	line, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("scores: %w", err) // a score is not finite
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	sum := sha256.Sum256(line)
	return renameio.WriteFile(path, append([]byte(hex.EncodeToString(sum[:])+"\n"), line...), 0o666, renameio.WithTempDir(workDir))
}

// readScores returns nil if there is no file.
func readScores(path string) (*plan.Scores, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	want, line, _ := bytes.Cut(data, []byte("\n"))
	if sum := sha256.Sum256(line); string(want) != hex.EncodeToString(sum[:]) {
		return nil, errors.New("the checksum in the first line is not that of the second line")
	}
	s := &plan.Scores{}
	return s, json.Unmarshal(line, s)
}
