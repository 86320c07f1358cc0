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
