package prune

import (
	"context"
	"errors"
	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A finished target whose weights were cut, changed or exchanged is written again when the
// run is resumed.
func TestResumeChecksWeights(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	mustRun(t, o)
	before := testutil.ReadTree(t, o.Out)
	o.Resume = true
	dir := TargetDir(o.Out, o.Targets[0])
	path := filepath.Join(dir, "model.safetensors")
	for name, change := range map[string]func() error{
		"cut": func() error { return os.Truncate(path, 4000) },
		"changed": func() error {
			data, err := os.ReadFile(path)
			data[len(data)-9] ^= 1
			return errors.Join(err, os.WriteFile(path, data, 0o666))
		},
		"exchanged": func() error {
			other, err := os.ReadFile(filepath.Join(o.Model, "model.safetensors"))
			return errors.Join(err, os.WriteFile(path, other, 0o666))
		},
		"removed": func() error { return os.Remove(path) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		mustRun(t, o)
		testutil.CheckSameTree(t, name, before, testutil.ReadTree(t, o.Out), 1)
	}
}

// Resuming a run with other options is refused, and so is a changed journal. Neither
// changes the files of the run.
func TestResumeRefused(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	mustRun(t, o)
	before := testutil.ReadTree(t, o.Out)
	refused := func(name, says string, change func(*Options)) {
		t.Helper()
		p := o
		p.Resume = true
		change(&p)
		_, err := Run(context.Background(), p)
		testutil.CheckError(t, name, err, says)
	}
	refused("without resume", "give --resume", func(p *Options) { p.Resume = false })
	refused("another seed", "its seed", func(p *Options) { p.Seed = 9 })
	refused("another criterion", "its criterion", func(p *Options) { p.Criterion = "cosine" })
	refused("another rule", "its rule", func(p *Options) { p.Width.Rule = "paper" })
	refused("fewer prompts", "its prompts", func(p *Options) { p.Prompts = 1 })
	refused("another text", "its text", func(p *Options) { p.Text = demoText + "evaluation.txt" })
	refused("other weights", "", func(p *Options) { p.Model = tinyModel(t, 2, nil) })
	refused("another shape", "", func(p *Options) { p.Model = tinyModel(t, 1, func(c *config.Config) { c.Layers[0].Intermediate++ }) })
	testutil.CheckSameTree(t, "files", before, testutil.ReadTree(t, o.Out), 1)

	journal := filepath.Join(o.Out, journalFile)
	lines := strings.SplitAfter(before[journalFile], "\n")
	for name, text := range map[string]string{
		"an edited number": strings.Replace(before[journalFile], `"step":2`, `"step":3`, 1),
		"a lost line":      lines[0] + lines[2],
		"lines in turn":    lines[0] + lines[2] + lines[1],
		"another head":     lines[1] + lines[2],
		"not a journal":    "{}\n",
	} {
		if err := os.WriteFile(journal, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Run(context.Background(), func() Options { p := o; p.Resume = true; return p }())
		testutil.CheckError(t, name, err, journalFile)
		if now, _ := os.ReadFile(journal); string(now) != text {
			t.Errorf("%s: the refused journal was changed", name)
		}
	}
	// After an incomplete last line, which a kill leaves, the step is taken again.
	if err := os.WriteFile(journal, []byte(before[journalFile][:len(before[journalFile])-40]), 0o666); err != nil {
		t.Fatal(err)
	}
	p := o
	p.Resume = true
	mustRun(t, p)
	testutil.CheckSameTree(t, "files", before, testutil.ReadTree(t, o.Out), 1)
	// Changed score files are not used: the scores are measured again.
	for name := range before {
		if strings.HasPrefix(name, scoresDir) {
			os.WriteFile(filepath.Join(o.Out, name), []byte("x\n{}"), 0o666)
		}
	}
	p.ExactTarget, p.Targets = true, []float64{0.15}
	n := passes(&p)
	mustRun(t, p)
	if *n == 0 {
		t.Error("want changed scores to be measured again")
	}
	// Two runs cannot use one directory at a time.
	unlock, err := checkpoint.Lock(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	refused("another run at work", "another run is using it", func(*Options) {})
}
