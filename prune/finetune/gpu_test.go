//go:build cuda || cudaemu

package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/progress"
	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/device/tolerance"
	"mop/runtime/tokenizer"
)

// Steps on the GPU agree with PyTorch and peft to the rounding of the products: all ten
// with one example per pass, and the first one with packing.
func TestGPUGoldenSteps(t *testing.T) {
	var golden map[string]json.RawMessage
	readJSON(t, "testdata/steps.json", &golden)
	var want []Step
	if err := json.Unmarshal(golden[Examples], &want); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.OpenFile(goldenTokenizer)
	if err != nil {
		t.Fatal(err)
	}
	for _, packing := range []bool{false, true} {
		o := fixture(t, 1)
		o.Device, o.Packing, o.Recompute, o.NoShuffle = gpuDevice(t), packing, packing, true
		if !packing {
			o.PassTokens = 1
		}
		o.AdapterInit, o.Log = "testdata/adapter", filepath.Join(t.TempDir(), "log.jsonl")
		steps := 10
		if packing {
			steps = 1
		}
		ctx, stop := context.WithCancel(context.Background())
		o.Progress = func(p progress.Update) {
			if p.Done == steps {
				stop()
			}
		}
		if _, err := Run(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		text, err := os.ReadFile(o.Log)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != steps {
			t.Fatalf("want %d steps, got %d", steps, len(lines))
		}
		examples, _, err := dataset.ReadExamples(o.dataFile(), tok, o.MaxLength)
		if err != nil {
			t.Fatal(err)
		}
		const layers = 2
		loss, norm, batches := 0.0, 0.0, newSchedule(&o, len(examples))
		for i, line := range lines {
			var got Step
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			labels := 0
			for _, e := range batches.batch(i) {
				labels += examples[e].Targets()
			}
			// Either is a mean over the labels.
			loss = max(loss, math.Abs(got.Loss-want[i].Loss)/tolerance.Mean(checkpoint.BF16, layers, labels, want[i].Loss))
			norm = max(norm, math.Abs(got.GradNorm-want[i].GradNorm)/(tolerance.Gradient(false, layers)/math.Sqrt(float64(labels))*want[i].GradNorm))
		}
		t.Logf("packing %v: losses are apart by at most %.2g of the tolerance, norms of the gradient by %.2g", packing, loss, norm)
		if !(loss <= 1) || !(norm <= 1) {
			t.Errorf("packing %v: losses are apart by %.2g times the tolerance, norms of the gradient by %.2g", packing, loss, norm)
		}
	}
}

// A run on the GPU that is killed repeatedly writes the same bytes as one that is not, in
// any order of threads.
func TestGPUKilled(t *testing.T) {
	straight, disturbed := testutil.KillRepeatedly(t, "killed on another device", fixture(t, 1).Model)
	testutil.CheckSameTree(t, "killed and gone on with", testutil.ReadTree(t, straight), testutil.ReadTree(t, disturbed), 4)
}

// A loss that is not finite ends the run, and the error names its step and rows. A run on
// another device does not continue this one.
func TestGPURefuses(t *testing.T) {
	o := fixture(t, 1)
	o.Device, o.Steps, o.LearningRate, o.MaxGradNorm, o.Every = gpuDevice(t), 5, 1e30, 0, 1
	_, err := Run(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "not finite: loss") || !strings.Contains(err.Error(), "on the rows") || !strings.Contains(err.Error(), "checkpoint of step 1 is complete") {
		t.Errorf("want a loss that is not finite, with its rows and the last checkpoint, got %v", err)
	}
	host := fixture(t, 1)
	o.Device, o.Resume = host.Device, true
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "of another run") {
		t.Errorf("want a refusal to go on with another device's run, got %v", err)
	}
}

// closeAtEnd closes a device after the test and reports errors of pending work.
func closeAtEnd(t *testing.T, dev device.Device) {
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
}
