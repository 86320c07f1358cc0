package prune

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"mop/prune/plan"
	"mop/prune/score"
)

// scoresDir keeps the AMP scores of every model that was scored, under the run's
// output: another target that branches off one needs no forward pass. A file is
// the sha256 of its second line, and that line, the scores as JSON.
const scoresDir = "scores"

// amp gives a state's AMP scores, from its file where they are known.
func (r *run) amp(ctx context.Context, n int, s plan.State) (*plan.Scores, error) {
	path := filepath.Join(r.Out, scoresDir, r.name(s)+".json")
	if known, err := readScores(path); err != nil {
		slog.Warn("scores are taken anew", "file", path, "why", err)
	} else if known != nil {
		return known, nil
	}
	m, err := r.loadCandidate(s)
	if err != nil {
		return nil, err
	}
	defer m.close()
	begin, known, leave := r.promptPrefix(s)
	scores, err := score.AMPFrom(ctx, m.Model, r.texts.prompts, begin, known, r.Progress.Counter(n, "AMP scores", len(r.texts.prompts)))
	if err != nil {
		return nil, err
	}
	leave(scores)
	return scores, writeScores(path, scores, r.work())
}

// writeScores makes the file appear whole; what a kill leaves of it lies in work,
// where it is swept.
func writeScores(path string, s *plan.Scores, work string) error {
	line, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("AMP scores: %w", err) // one that is not finite
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	sum := sha256.Sum256(line)
	return renameio.WriteFile(path, append([]byte(hex.EncodeToString(sum[:])+"\n"), line...), 0o666, renameio.WithTempDir(work))
}

// readScores gives nil where there are none.
func readScores(path string) (*plan.Scores, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	head, line, _ := bytes.Cut(data, []byte("\n"))
	if sum := sha256.Sum256(line); string(head) != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("want the sum of its second line in its first")
	}
	s := &plan.Scores{}
	return s, json.Unmarshal(line, s)
}
