package prune

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestChild is no test: it is the run that TestKilled starts in a process of its
// own, its output directory behind --.
func TestChild(t *testing.T) {
	if flag.NArg() != 2 || flag.Arg(0) != "killed" {
		t.Skip("runs in a process of its own, for TestKilled")
	}
	o := small(t, flag.Arg(1))
	o.Resume = true
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

// A run that SIGKILL ends at random moments, over and over, and that goes on each
// time, ends in the bytes of one that nothing disturbed, and leaves nothing else.
func TestKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	straight, killed := filepath.Join(t.TempDir(), "straight"), filepath.Join(t.TempDir(), "killed")
	child := func(out string) (*exec.Cmd, *bytes.Buffer) {
		c := exec.Command(exe, "-test.run=^TestChild$", "--", "killed", out)
		var text bytes.Buffer
		c.Stdout, c.Stderr = &text, &text
		c.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // a killed child cannot tidy up
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c, &text
	}
	begin := time.Now()
	c, text := child(straight)
	if err := c.Wait(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	whole := time.Since(begin)
	r := rand.New(rand.NewPCG(7, uint64(begin.UnixNano())))
	kills := 0
	for end := false; !end; {
		// Half of a whole run at most, so that several kills fall into it; later
		// ones may take longer, so that it ends even where work is lost each time.
		wait := time.Duration(r.Float64() * float64(whole) * (0.5 + 0.1*float64(kills)))
		c, text := child(killed)
		done := make(chan error, 1)
		go func() { done <- c.Wait() }()
		select {
		case err := <-done:
			if end = true; err != nil {
				t.Fatalf("after %d kills: %v: %s", kills, err, text)
			}
		case <-time.After(wait):
			c.Process.Signal(syscall.SIGKILL)
			var exit *exec.ExitError
			if err := <-done; errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
				kills++
				t.Logf("killed after %v of %v", wait.Round(time.Millisecond), whole.Round(time.Millisecond))
			}
		}
	}
	if kills == 0 {
		t.Error("no kill fell into the run")
	}
	want, got := tree(t, straight), tree(t, killed)
	if len(want) != len(got) {
		t.Errorf("want %d files, got %d", len(want), len(got))
	}
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s differs", name)
		}
	}
}
