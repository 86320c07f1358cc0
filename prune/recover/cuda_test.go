//go:build cudaemu && !cuda

package recover

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/killed"
	"mop/runtime/device"
	"mop/runtime/device/cuda"
)

// anotherDevice is the emulated GPU, its threads in an order that no two runs share.
func anotherDevice(t *testing.T) device.Device {
	t.Helper()
	dev, err := cuda.OpenEmulated(rand.Uint64(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// Steps on the emulated GPU are those of PyTorch and peft, all ten to the rounding of
// what is multiplied, one example a pass, and the first one packed.
func TestEmulatedGoldenSteps(t *testing.T) {
	var golden map[string]json.RawMessage
	readJSON(t, "testdata/steps.json", &golden)
	var want []Step
	if err := json.Unmarshal(golden[Examples], &want); err != nil {
		t.Fatal(err)
	}
	for _, packing := range []bool{false, true} {
		o := fixture(t, 1)
		o.Device, o.Packing, o.Recompute, o.NoShuffle = anotherDevice(t), packing, packing, true
		o.AdapterInit, o.Log = "testdata/adapter", filepath.Join(t.TempDir(), "log.jsonl")
		steps := 10
		if packing {
			steps = 1
		}
		ctx, stop := context.WithCancel(context.Background())
		o.Progress = func(p Progress) {
			if p.Step == steps {
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
		loss, norm := 0.0, 0.0
		for i, line := range lines {
			var got Step
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			loss = max(loss, math.Abs(got.Loss-want[i].Loss)/want[i].Loss)
			norm = max(norm, math.Abs(got.GradNorm-want[i].GradNorm)/want[i].GradNorm)
		}
		t.Logf("packing %v: losses at most %.2g apart, norms of the gradient %.2g", packing, loss, norm)
		if !(loss < 2e-3) || !(norm < 2e-2) {
			t.Errorf("packing %v: want losses within 2e-3 and norms within 2e-2, got %.2g and %.2g", packing, loss, norm)
		}
	}
}

// A run on the emulated GPU that is killed over and over ends in the bytes of one that
// was not, whatever order its threads have.
func TestEmulatedKilled(t *testing.T) {
	straight, disturbed := killed.Run(t, "killed on another device", fixture(t, 1).Model)
	sameFiles(t, "killed and gone on with", files(t, straight), files(t, disturbed))
}

// A loss that is not finite stops the run with its step and rows; a run of another
// device is not gone on with; what has no room says so, before the first step.
func TestEmulatedRefuses(t *testing.T) {
	o := fixture(t, 1)
	o.Device, o.Steps, o.Rate, o.Clip, o.Every = anotherDevice(t), 5, 1e30, 0, 1
	_, err := Run(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "not finite: loss") || !strings.Contains(err.Error(), "on the rows") || !strings.Contains(err.Error(), "checkpoint of step 1 is whole") {
		t.Errorf("want a loss that is not finite, with its rows and the last checkpoint, got %v", err)
	}
	host := fixture(t, 1)
	o.Device, o.Resume = host.Device, true
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "of another run") {
		t.Errorf("want a refusal to go on with another device's run, got %v", err)
	}
	small, err := cuda.OpenEmulated(1, 900<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	o = fixture(t, 1)
	o.Device = small
	steps := 0
	o.Progress = func(Progress) { steps++ }
	if _, err := Run(context.Background(), o); !errors.Is(err, device.ErrMemory) || steps > 0 {
		t.Errorf("want no room before the first step, got %v after %d steps", err, steps)
	} else {
		t.Log(err)
	}
}
