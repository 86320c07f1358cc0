package finetune

import (
	"context"
	"errors"
	"math"
	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// No output lies in the directory of the model.
func TestOutputInTheModel(t *testing.T) {
	o := fixture(t, 1)
	for want, change := range map[string]func(*Options){
		"give another --out":          func(o *Options) { o.Out = filepath.Join(o.Model, "out") },
		"give another --save-adapter": func(o *Options) { o.SaveAdapter = filepath.Join(o.Model, "adapter") },
		"give another --log":          func(o *Options) { o.Log = filepath.Join(o.Model, "log.jsonl") },
	} {
		x := o
		change(&x)
		_, err := Run(t.Context(), x)
		testutil.CheckError(t, want, err, "lies in the model's directory", want)
	}
}

// Errors are one line, and nothing is left at OUT.
func TestBadInput(t *testing.T) {
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		change func(o *Options)
		want   string
	}{
		{func(o *Options) { o.Data = write("a.json", "{}") }, "no row to train on, 1 skipped: row 1: an empty object"},
		{func(o *Options) { o.Data = write("a.json", "[]") }, "no row to train on"},
		{func(o *Options) { o.Data = write("a.json", `[7, {"instruction": "x"}]`) }, "no row to train on, 2 skipped"},
		{func(o *Options) { o.Data = write("a.jsonl", "{\n") }, "no row to train on, 1 skipped"},
		{func(o *Options) { o.Data = write("a.txt", " \n") }, "no row to train on"},
		{func(o *Options) { o.Strict = true }, "data.json: row 4: no output (4 such rows)"},
		{func(o *Options) { o.LearningRate = 1e30; o.MaxGradNorm = 0; o.Every = 1; o.Steps = 5 }, "not finite"},
		{func(o *Options) { o.AdapterInit = t.TempDir() }, "adapter_config.json"},
		{func(o *Options) { o.Average = "rows" }, "loss-average"},
		{func(o *Options) { o.Data = write("a.json", `[{"instruction": "x"}]`) }, "1 skipped: row 1: no output"},
		{func(o *Options) { o.SaveAdapter = o.Out }, "apart from the model's"},
		{func(o *Options) { o.SaveAdapter = filepath.Join(o.Out, "adapter") }, "apart from the model's"},
		{func(o *Options) { o.SaveAdapter, o.Out = o.Out, filepath.Join(o.Out, "model") }, "apart from the model's"},
		{func(o *Options) { o.Log = o.Out }, "apart from the model's"},
		{func(o *Options) { o.Batch = math.MaxInt }, "batch: want 1 to 2147483648"},
		{func(o *Options) { o.Epochs, o.Steps = math.MaxInt, 0 }, "epochs: want 1 to 2147483648"},
		{func(o *Options) { o.Rank = 1 << 17 }, "rank: want 1 to 65536, got 131072"},
		{func(o *Options) { o.MaxGradNorm = math.Inf(1) }, "clip: want a number of at least 0"},
		{func(o *Options) { o.Eps = math.Inf(1) }, "eps: want a number above 0"},
		{func(o *Options) { o.AdapterInit = adapterOf(t, math.MaxInt, 10) }, "adapter_config.json: rank: want 1 to 65536"},
		{func(o *Options) { o.AdapterInit = adapterOf(t, 0, 10) }, "adapter_config.json: rank: want 1"},
		{func(o *Options) { o.LearningRate, o.Every = 1e300, 0 }, "after training: not finite"},
		{func(o *Options) { o.LearningRate, o.Every = 1e300, 1 }, "not finite after training"},
		{func(o *Options) { o.LearningRate, o.Every, o.Full = 1e300, 0, true }, "after training: not finite"},
		{func(o *Options) { o.Out = o.Model }, "lies in the model's directory"},
		{func(o *Options) { o.Targets = nil }, "nothing to train"},
	} {
		o := fixture(t, 1)
		o.Steps = 1
		c.change(&o)
		_, err := Run(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one line with %q, got %v", c.want, err)
		}
		if _, err := os.Stat(o.Out); err == nil && o.Out != o.Model {
			t.Errorf("%s: something stands at OUT", c.want)
		}
	}
}

// A log overwrites another log, even one whose first line is incomplete, but no other file.
func TestLogOverwritesOnlyLogs(t *testing.T) {
	for text, ok := range map[string]bool{"": true, `{"st`: true, `{"step":1}` + "\n": true, `{"instruction": "x"}`: false, "{": true, "x": false} {
		o := fixture(t, 1)
		o.Steps, o.Log = 1, filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(o.Log, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Run(context.Background(), o)
		after, _ := os.ReadFile(o.Log)
		switch {
		case ok && (err != nil || !strings.HasPrefix(string(after), logStart)):
			t.Errorf("%q: want a log in its place, got %q, %v", text, after, err)
		case !ok && (err == nil || !strings.Contains(err.Error(), "give another --log") || string(after) != text):
			t.Errorf("%q: want a refusal and the file as it was, got %q, %v", text, after, err)
		}
	}
}

// The error of a loss that is not finite names the step, the rows and the last stored state.
func TestNotFinite(t *testing.T) {
	o := fixture(t, 2)
	o.LearningRate, o.MaxGradNorm, o.Every, o.NoShuffle, o.Steps = 1e30, 0, 1, true, 5
	_, err := Run(context.Background(), o)
	want := "step 2: not finite"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "rows [6 7 8 10] of "+goldenData) || !strings.Contains(err.Error(), "the checkpoint of step 1 is complete") {
		t.Errorf("want %q with its rows, got %v", want, err)
	}
	if b, err := checkpoint.OpenTensorFile(filepath.Join(o.Out+".training", stateName(1))); err != nil {
		t.Error(err)
	} else {
		b.Close()
	}
}

// An empty directory at OUT is used, as by a prune. One with files is refused and not
// changed.
func TestEmptyOut(t *testing.T) {
	o := fixture(t, 1)
	o.Steps = 1
	if err := os.Mkdir(o.Out, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(o.Out, resultFile)) {
		t.Error("no model in the directory that was empty")
	}
	o.Out = t.TempDir()
	note := filepath.Join(o.Out, "note")
	if err := os.WriteFile(note, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "give another --out") || !exists(note) {
		t.Errorf("a directory with a file: want it refused, got %v", err)
	}
}

// Wrong options are an OptionsError, for which no device is opened. Any other failure is
// not one.
func TestOptionsError(t *testing.T) {
	failed := errors.New("no device")
	opened := 0
	o := fixture(t, 1)
	o.Device, o.OpenDevice = nil, func() (device.Device, error) {
		opened++
		return nil, failed
	}
	o.Rank = 0
	if _, err := Run(context.Background(), o); !errors.As(err, &OptionsError{}) || opened != 0 {
		t.Errorf("rank 0: want an OptionsError and no device opened, got %v and %d opened", err, opened)
	}
	o.Rank = 1
	if _, err := Run(context.Background(), o); !errors.Is(err, failed) || errors.As(err, &OptionsError{}) || opened != 1 {
		t.Errorf("want %v, got %v and %d opened", failed, err, opened)
	}
	o.OpenDevice = nil
	if _, err := Run(context.Background(), o); !errors.As(err, &OptionsError{}) {
		t.Errorf("no device: want an OptionsError, got %v", err)
	}
}
