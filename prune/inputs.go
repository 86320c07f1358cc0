package prune

import (
	"fmt"
	"log/slog"

	"mop/internal/files"
	"mop/prune/refit"
	"mop/runtime/chat"
	"mop/runtime/dataset"
	"mop/runtime/tokenizer"
)

// inputs are the tokens on which heads, neurons and candidates are scored.
type inputs struct {
	prompts   [][]int           // of the calibration file
	windows   []dataset.Window  // of the text
	checksums map[string]string // "calibration" and "text" -> sha256 of the file
}

// contextLength is the length of a window in tokens.
func (r *run) contextLength() int { return min(r.Context, r.base.Config().MaxPositions) }

// readInputs reads what the run needs: prompts if the options allow a width step, and
// windows if candidates are scored.
func (r *run) readInputs() (*inputs, error) {
	in := &inputs{checksums: map[string]string{}}
	missing := r.needsPrompts()
	if missing != nil && r.Calibration == "" {
		return nil, missing
	}
	scored := r.scorer != nil || !r.method.Uses().Criterion && r.method.Uses().Windows > 0
	if r.Text == "" && scored {
		return nil, fmt.Errorf("text: want a file: %s is measured on it", r.chooser())
	}
	prompted := r.Calibration != "" && (missing != nil || r.method.Uses().Criterion)
	if !prompted && !scored {
		return in, nil
	}
	// Files are read twice, the second time for the checksum in the plan. A pipe would be
	// empty by then.
	for path, read := range map[string]bool{r.Calibration: prompted, r.Text: r.Text != ""} {
		if !read {
			continue
		}
		if _, err := files.Check(path); err != nil {
			return nil, err
		}
	}
	tok, err := tokenizer.Open(r.Model)
	if err != nil {
		return nil, err
	}
	if prompted {
		if err := r.readPrompts(in, tok); err != nil {
			return nil, err
		}
	}
	if scored {
		if err := r.readWindows(in, tok); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// dataFile is a data file of the run, and how its rows are read.
func (o *Options) dataFile(path, separator string) dataset.File {
	return dataset.File{Path: path, Separator: separator, Special: o.Special, Template: chat.Opener(o.ChatTemplate, o.Model)}
}

func (r *run) readPrompts(in *inputs, tok *tokenizer.Tokenizer) error {
	var available int
	var err error
	if in.prompts, available, err = dataset.Prompts(tok, r.dataFile(r.Calibration, ""), r.Prompts, r.base.Config().MaxPositions, r.Sample, r.Seed); err != nil {
		return err
	}
	if available < r.Prompts {
		slog.Warn("calibration: the file has fewer prompts than asked for", "file", r.Calibration, "want", r.Prompts, "got", available)
	}
	if r.Refit {
		if err := refit.CheckPrompts(len(in.prompts)); err != nil {
			return fmt.Errorf("%s: %w", r.Calibration, err)
		}
	}
	in.checksums["calibration"], err = files.Sum(r.Calibration)
	return err
}

func (r *run) readWindows(in *inputs, tok *tokenizer.Tokenizer) error {
	var err error
	if in.windows, err = dataset.FirstWindows(tok, r.dataFile(r.Text, r.Separator), r.contextLength(), r.Windows); err != nil {
		return err
	}
	if len(in.windows) == 0 {
		return fmt.Errorf("%s: no tokens in it", r.Text)
	}
	if len(in.windows) < r.Windows {
		slog.Warn("text: the file has fewer windows than asked for", "file", r.Text, "want", r.Windows, "got", len(in.windows))
	}
	in.checksums["text"], err = files.Sum(r.Text)
	return err
}
