package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mop/bench/compare"
	"mop/bench/latency"
	"mop/bench/report"
	"mop/prune"
	"mop/runtime/checkpoint"
)

// Write writes the tables, and whether the times can be trusted.
func (r *Result) Write(w io.Writer) error {
	what, times := "the small trained model on held-out stories, pruned, and the dense and the\nsmallest one after the same recovery training", latencyPreset+" with random weights, along the path of a released model"
	if !r.recipe.preset {
		what, times = "the model on held-out text, pruned, and all of them after the same short training", "the same models"
	}
	fmt.Fprintf(w, "Quality: %s.\n\n", what)
	if err := report.WriteQuality(w, r.Quality); err != nil {
		return err
	}
	fmt.Fprintf(w, "Recovery training gives back %.0f %% of the perplexity that pruning cost.\n\n"+
		"Latency: %s.\n\n", 100*r.recovered(), times)
	if err := report.Write(w, "md", r.Latency); err != nil {
		return err
	}
	if doubts := timingDoubts(r.Latency); len(doubts) > 0 {
		fmt.Fprintf(w, "\nThese times are not trustworthy: %s. Measure again on an idle machine.\n", strings.Join(doubts, "; "))
	} else {
		fmt.Fprintln(w, "\nThese times are trustworthy: the machine was idle and the intervals are narrow.")
	}
	_, err := fmt.Fprintf(w, "\nreport with plots: %s\nsmaller models:    %s\ntrained ones:      %s\n", r.reportDir(), prunedDir(r.out), recoveredDir(r.out))
	return err
}

// recovered is the share of what pruning cost that training gives back: the gain of the
// smallest model over its distance from the dense one before training.
func (r *Result) recovered() float64 {
	dense, pruned := r.Quality[0], r.Quality[len(r.Quality)-1]
	return (pruned.PPL - *pruned.PPLTrained) / (pruned.PPL - dense.PPL)
}

// timingDoubts says why measured times are not trustworthy; none if they are.
func timingDoubts(entries []report.Entry) (doubts []string) {
	var rows []latency.Row
	for _, e := range entries {
		rows = append(rows, e.Row)
	}
	if others, steal := compare.OtherLoad(rows); others+steal > latency.Busy {
		doubts = append(doubts, fmt.Sprintf("other processes took %.0f %% of the cores and the hypervisor %.0f %%", 100*others, 100*steal))
	}
	for _, e := range entries {
		if s := e.Speedup; s.Lo == nil {
			doubts = append(doubts, fmt.Sprintf("the speed-up of %s has no interval", e.Model))
		} else if width := (*s.Hi - *s.Lo) / s.Median; width > 2*latencyPrecision {
			doubts = append(doubts, fmt.Sprintf("the interval of the speed-up of %s is %.0f %% wide", e.Model, 100*width))
		}
	}
	return doubts
}

// Check returns an error unless the demo shows what it must show on every machine:
// perplexity rises with compression, training gives back at least half of that, and all
// files are complete. Times decide nothing: they depend on what else the machine does.
func (r *Result) Check() error {
	for i := 1; i < len(r.Quality); i++ {
		if a, b := r.Quality[i-1], r.Quality[i]; b.PPL <= a.PPL {
			return fmt.Errorf("perplexity does not rise from %s (%.3f) to %s (%.3f)", a.Model, a.PPL, b.Model, b.PPL)
		}
	}
	if last := r.Quality[len(r.Quality)-1]; !(r.recovered() >= 0.5) {
		return fmt.Errorf("training gives back less than half of what pruning cost: perplexity %.3f pruned, %.3f trained, %.3f dense", last.PPL, *last.PPLTrained, r.Quality[0].PPL)
	}
	return r.checkFiles()
}

// checkFiles opens every model and reads every file of the report.
func (r *Result) checkFiles() error {
	var dirs []string
	if r.recipe.preset { // the carried model was unpacked there
		dirs = append(dirs, filepath.Join(r.out, "model"))
	}
	for _, t := range r.recipe.targets {
		dirs = append(dirs, prune.TargetDir(prunedDir(r.out), t))
	}
	for _, dir := range dirs {
		src, err := checkpoint.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(checkpoint.CheckFinite(src), src.Close()); err != nil {
			return err
		}
	}
	for name, rows := range map[string]int{"results.json": len(r.Latency), "quality.json": len(r.Quality)} {
		path := filepath.Join(r.reportDir(), name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var list []map[string]any
		if err := json.Unmarshal(text, &list); err != nil || len(list) != rows {
			return fmt.Errorf("%s: want %d models, got %d, %v", path, rows, len(list), err)
		}
	}
	for _, name := range []string{"report.md", "results.csv", "samples.jsonl", "latency.png", "speedup.svg", "perplexity.png", "widths.svg"} {
		path := filepath.Join(r.reportDir(), name)
		if info, err := os.Stat(path); err != nil {
			return err
		} else if info.Size() == 0 {
			return fmt.Errorf("%s: empty", path)
		}
	}
	return nil
}
