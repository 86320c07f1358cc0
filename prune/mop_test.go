package prune

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/progress"
	"mop/internal/testutil"
	"mop/prune/plan"
	"mop/prune/surgery"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
)

const (
	demoModel = "../bench/demo/model"
	demoText  = "../bench/demo/text/"
)

func host(t *testing.T) device.Device {
	t.Helper()
	d, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// demoOptions are those of a run of a few steps on the demo model.
func demoOptions(t *testing.T, out string) Options {
	return Options{Model: demoModel, Out: out, Device: host(t), Targets: []float64{0.08, 0.16}, Criterion: "kl",
		Calibration: demoText + "calibration.jsonl", Prompts: 2, Text: demoText + "windows.txt", Separator: "<|endoftext|>", Windows: 1, Context: 48}
}

// A run that is stopped in the middle of each of its steps, with an incomplete line left
// in its journal each time, writes the same bytes as one that is not stopped.
func TestResumeGivesTheSameBytes(t *testing.T) {
	straight, stopped := t.TempDir(), t.TempDir()
	plans, err := Run(context.Background(), demoOptions(t, straight))
	if err != nil {
		t.Fatal(err)
	}
	steps := len(plans[0].Steps)
	if steps < 3 {
		t.Fatalf("want several steps, got %d", steps)
	}
	for n := 1; n <= steps; n++ {
		ctx, cancel := context.WithCancel(context.Background())
		o := demoOptions(t, stopped)
		o.Resume = true
		o.Progress = func(u progress.Update) {
			if u.Step == n && strings.HasPrefix(u.Phase, "scoring") {
				cancel()
			}
		}
		if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("step %d: want a stop, got %v", n, err)
		}
		f, err := os.OpenFile(filepath.Join(stopped, journalFile), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(`{"sum":"0123`)
		f.Close()
	}
	o := demoOptions(t, stopped)
	if _, err := Run(context.Background(), o); err == nil {
		t.Error("want a refusal to go on without Resume")
	}
	o.Resume = true
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	want, got := testutil.ReadTree(t, straight), testutil.ReadTree(t, stopped)
	if len(want) != len(got) {
		t.Errorf("want %d files, got %d", len(want), len(got))
	}
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s differs", name)
		}
	}
	o.Seed++
	if _, err := Run(context.Background(), o); err == nil {
		t.Error("want a refusal to go on with another run's journal")
	}
}

// A plan that removes nothing gives the tensors of the base.
func TestCutNothing(t *testing.T) {
	src, err := checkpoint.Open(demoModel)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	specs, _, err := surgery.Specs(src, plan.New(src.Config()).Layers)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		var b bytes.Buffer
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		if want, _ := src.Tensor(s.Name); !bytes.Equal(b.Bytes(), want.Data) {
			t.Errorf("%s changed", s.Name)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"score":        func(o *Options) { o.Score = "vibes" },
		"no device":    func(o *Options) { o.Device = nil },
		"windows":      func(o *Options) { o.Windows = 0 },
		"prompts":      func(o *Options) { o.Prompts = 0 },
		"beyond reach": func(o *Options) { o.Targets = []float64{0.99} },
		"no text":      func(o *Options) { o.Text = "" },
		"no such file": func(o *Options) { o.Calibration = "nowhere.json" },
		"criterion":    func(o *Options) { o.Criterion = "vibes" },
		"rule":         func(o *Options) { o.Width.Rule = "most" },
		"sequence":     func(o *Options) { o.Criterion, o.Sequence = "sequence", "LGX" },
	} {
		out := filepath.Join(t.TempDir(), "out")
		o := demoOptions(t, out)
		change(&o)
		if _, err := Run(context.Background(), o); err == nil {
			t.Errorf("%s: want an error", name)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a refused run wrote %s", name, out)
		}
	}
}
