package finetune

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"mop/internal/testutil"
)

// TestChild is the run that TestKilled and TestGPUKilled start as a child process. Its
// model and output follow --.
func TestChild(t *testing.T) {
	if flag.NArg() != 3 || flag.Arg(0) != "killed" && flag.Arg(0) != "killed on another device" {
		t.Skip("runs in a process of its own, for TestKilled")
	}
	o := fixture(t, 2)
	o.Model, o.Out, o.Resume, o.Dropout, o.Every, o.Steps = flag.Arg(1), flag.Arg(2), true, 0.1, 4, 60
	if flag.Arg(0) != "killed" {
		o.Device, o.Steps, o.Every = gpuDevice(t), 6, 1
	}
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

// A run that is killed at random moments and resumed each time writes the same bytes as an
// undisturbed run, and no other files.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a training several times: not with -short")
	}
	straight, disturbed := testutil.KillRepeatedly(t, "killed", fixture(t, 1).Model)
	testutil.CheckSameTree(t, "killed and gone on with", testutil.ReadTree(t, straight), testutil.ReadTree(t, disturbed), 4)
	if left, err := os.ReadDir(filepath.Dir(disturbed)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
