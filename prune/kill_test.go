package prune

import (
	"context"
	"flag"
	"testing"

	"mop/internal/testutil"
)

// TestChild is the run that TestKilled starts as a child process. Its output directory
// follows --.
func TestChild(t *testing.T) {
	if flag.NArg() != 2 || flag.Arg(0) != "killed" {
		t.Skip("runs in a process of its own, for TestKilled")
	}
	o := demoOptions(t, flag.Arg(1))
	o.Resume = true
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

// A run that is killed at random moments and resumed each time writes the same bytes as
// an undisturbed run, and no other files.
func TestKilled(t *testing.T) {
	straight, disturbed := testutil.KillRepeatedly(t, "killed")
	want, got := testutil.ReadTree(t, straight), testutil.ReadTree(t, disturbed)
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("left behind: %s", name)
		}
	}
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s differs", name)
		}
	}
}
