package prune

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mop/runtime/checkpoint"
)

// checkPaths refuses, before anything is computed, outputs that would touch the
// model or what another run or person has left.
func (o *Options) checkPaths() error {
	model, err := apart(o.Out, o.Model)
	if err != nil {
		return err
	}
	if st, err := os.Stat(o.Out); err == nil && !st.IsDir() {
		return fmt.Errorf("out: %s: want a directory", o.Out)
	}
	_, err = os.Stat(filepath.Join(o.Out, journalFile))
	begun := err == nil
	if begun && !o.Resume {
		return fmt.Errorf("%s: a run has been here: give --resume to go on with it, or another --out", filepath.Join(o.Out, journalFile))
	}
	for _, dir := range []string{o.work(), filepath.Join(o.Out, scoresDir)} {
		if _, err := os.Lstat(dir); err == nil && !begun {
			return fmt.Errorf("%s: exists, and no run has been here: remove it or give another --out", dir)
		}
	}
	for _, t := range o.Targets {
		if dir := RecoveredDir(o.Out, t); o.Recovery.Final && !o.Resume {
			if _, err := os.Lstat(dir); err == nil {
				return fmt.Errorf("%s: exists already: give --resume or another --out", dir)
			}
		}
		if err := checkTarget(TargetDir(o.Out, t), model, o.Resume); err != nil {
			return err
		}
	}
	return nil
}

// apart is the model's directory without links; an output in it is refused.
func apart(out, model string) (string, error) {
	dir, err := resolvePath(model)
	if err != nil {
		return "", err
	}
	to, err := resolvePath(out)
	if err == nil && inside(to, dir) {
		err = fmt.Errorf("out: %s lies in the model's directory %s: give another --out", out, model)
	}
	return dir, err
}

// checkTarget refuses a target's directory that cannot be written in the end.
func checkTarget(dir, model string, resume bool) error {
	if path, err := resolvePath(dir); err == nil && inside(model, path) {
		return fmt.Errorf("%s: holds the model: give another --out", dir)
	}
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if !resume {
		return fmt.Errorf("%s: exists already: give --resume or another --out", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, planFile)); err != nil {
		return fmt.Errorf("%s: exists, and no run has made it: there is no %s: give another --out", dir, planFile)
	}
	return nil
}

// resolvePath is a path without links; what does not exist yet keeps its name under
// what does.
func resolvePath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		found, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(found, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			if named := (*os.PathError)(nil); !errors.As(err, &named) {
				err = fmt.Errorf("%s: %w", at, err)
			}
			return "", err
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// inside reports whether path is dir or lies under it.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// checkRoom refuses a run whose candidates, or whose results, have no room on
// the disk; each is asked for again when it is written.
func (r *run) checkRoom(states int64) error {
	var base int64
	for _, info := range checkpoint.ExpectedTensors(r.base.Config()) {
		t, err := r.base.Tensor(info.Name)
		if err != nil {
			return err
		}
		base += int64(len(t.Data))
	}
	candidates := base // one, above its size
	if r.scored() {
		candidates += base + states
	}
	var models int64
	for _, t := range r.Targets {
		if _, err := os.Stat(TargetDir(r.Out, t)); err != nil {
			models += int64((1 - t) * float64(base))
		}
	}
	if err := checkpoint.CheckFree(r.Out, max(candidates, models)); err != nil {
		return fmt.Errorf("%s: candidates of up to %d bytes, models of about %d: %w", r.Out, candidates, models, err)
	}
	return nil
}
