package prune

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// Wrong options and files are refused with one line before anything is written. Neither
// the model nor what is in the way is changed.
func TestWrongOptionsAreRefused(t *testing.T) {
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, x := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"target 0":             {func(o *Options) { o.Targets = []float64{0} }, "(0, 1)"},
		"target 1":             {func(o *Options) { o.Targets = []float64{0.2, 1} }, "(0, 1)"},
		"target NaN":           {func(o *Options) { o.Targets = []float64{math.NaN()} }, "(0, 1)"},
		"target twice":         {func(o *Options) { o.Targets = []float64{0.2, 0.2} }, "twice"},
		"no target":            {func(o *Options) { o.Targets = nil }, "at least one"},
		"beyond reach":         {func(o *Options) { o.Targets = []float64{0.9} }, "beyond reach"},
		"empty text":           {func(o *Options) { o.Text = file("a.txt", "") }, "a.txt"},
		"blank text":           {func(o *Options) { o.Text = file("a.txt", " \n\n ") }, "a.txt"},
		"no file for text":     {func(o *Options) { o.Text = os.DevNull }, "want a regular file"},
		"no prompts":           {func(o *Options) { o.Calibration = file("a.json", "[]") }, "a.json"},
		"blank prompts":        {func(o *Options) { o.Calibration = file("a.jsonl", "\n\n") }, "a.jsonl"},
		"prompts of others":    {func(o *Options) { o.Calibration = file("a.json", `[{"txt":"x"}]`) }, "row 1: found txt"},
		"a torn line":          {func(o *Options) { o.Calibration = file("a.jsonl", "{\"text\":\"\"}\n{\"te") }, "2 skipped: row 1: the text is empty"},
		"out is the model":     {func(o *Options) { o.Out = o.Model }, "lies in the model's directory"},
		"out in the model":     {func(o *Options) { o.Out = filepath.Join(o.Model, "a", "b") }, "lies in the model's directory"},
		"out is a file":        {func(o *Options) { o.Out = file("out", "x") }, "want a directory"},
		"out under a file":     {func(o *Options) { o.Out = filepath.Join(file("out", "x"), "y") }, "not a directory"},
		"a target's directory": {func(o *Options) { os.MkdirAll(filepath.Join(o.Out, "0.20"), 0o777) }, "exists already"},
		"work of another":      {func(o *Options) { os.MkdirAll(filepath.Join(o.Out, ".work"), 0o777) }, "there is no run in"},
		"a foreign directory": {func(o *Options) {
			os.MkdirAll(filepath.Join(o.Out, "0.20", "photos"), 0o777)
			o.Resume = true
		}, "was not made by a run"},
		"a foreign journal": {func(o *Options) {
			os.MkdirAll(o.Out, 0o777)
			os.WriteFile(filepath.Join(o.Out, journalFile), []byte("dear diary"), 0o666)
			o.Resume = true
		}, "not a journal"},
		"hf type": {func(o *Options) { o.HFType = "gpt" }, "hf type"},
	} {
		o := tinyOptions(t, tinyModel(t, 1, nil))
		x.change(&o)
		before, there := testutil.ReadTree(t, o.Model), listing(t, filepath.Dir(o.Out))
		_, err := Run(context.Background(), o)
		testutil.CheckError(t, name, err, x.says)
		testutil.CheckSameTree(t, "files", before, testutil.ReadTree(t, o.Model), 1)
		if now := listing(t, filepath.Dir(o.Out)); now != there {
			t.Errorf("%s: a refused run changed\n%s\nto\n%s", name, there, now)
		}
	}
}

// listing lists every path under a directory, and nothing if it does not exist.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil {
			out = append(out, path)
		}
		return nil
	})
	return strings.Join(out, "\n")
}

// A model in the directory of a target is not overwritten.
func TestModelUnderOut(t *testing.T) {
	o := tinyOptions(t, tinyModel(t, 1, nil))
	o.Out = t.TempDir()
	if err := os.Rename(o.Model, filepath.Join(o.Out, "0.20")); err != nil {
		t.Fatal(err)
	}
	o.Model = filepath.Join(o.Out, "0.20")
	before := testutil.ReadTree(t, o.Out)
	for _, o.Resume = range []bool{false, true} {
		_, err := Run(context.Background(), o)
		testutil.CheckError(t, "model as a target", err, "holds the model")
	}
	testutil.CheckSameTree(t, "files", before, testutil.ReadTree(t, o.Out), 1)
}

// A weight that is not finite is refused, and the error names its tensor.
func TestNaNWeight(t *testing.T) {
	dir := tinyModel(t, 1, nil)
	src, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := src.Config()
	var specs []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(c) {
		x, err := src.Tensor(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Name == checkpoint.LayerName(2, checkpoint.WDown) {
			x.Data = append([]byte(nil), x.Data...)
			x.Data[2*40], x.Data[2*40+1] = 0xc0, 0x7f
		}
		specs = append(specs, checkpoint.Copy(x))
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := checkpoint.Save(bad, c, specs, checkpoint.SaveOptions{Files: checkpoint.SideFiles(dir)}); err != nil {
		t.Fatal(err)
	}
	src.Close()
	o := tinyOptions(t, bad)
	_, err = Run(context.Background(), o)
	testutil.CheckError(t, "NaN", err, "not finite")
	if err != nil && !strings.Contains(err.Error(), "layer 2") {
		t.Errorf("want the layer named, got %v", err)
	}
	if _, err := os.Stat(o.Out); err == nil {
		t.Error("a refused run wrote")
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
