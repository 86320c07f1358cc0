package recover

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestChild is no test: it is the run that TestKilled starts in a process of its
// own, its model and output behind --.
func TestChild(t *testing.T) {
	if flag.NArg() != 3 || flag.Arg(0) != "killed" {
		t.Skip("runs in a process of its own, for TestKilled")
	}
	o := fixture(t, 2)
	o.Model, o.Out, o.Resume, o.Dropout, o.Every, o.Steps = flag.Arg(1), flag.Arg(2), true, 0.1, 4, 60
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

// A run that SIGKILL ends at random moments and that goes on each time ends in the
// bytes of one that nothing disturbed, and leaves nothing else.
func TestKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	model, dir := fixture(t, 1).Model, t.TempDir()
	child := func(out string) (*exec.Cmd, *bytes.Buffer) {
		c := exec.Command(exe, "-test.run=^TestChild$", "--", "killed", model, out)
		var text bytes.Buffer
		c.Stdout, c.Stderr = &text, &text
		c.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // a killed child cannot tidy up
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c, &text
	}
	straight, killed := filepath.Join(dir, "straight"), filepath.Join(dir, "killed")
	began := time.Now()
	c, text := child(straight)
	if err := c.Wait(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	whole := time.Since(began)
	r := rand.New(rand.NewPCG(9, uint64(began.UnixNano())))
	kills := 0
	for {
		// Later ones may take longer, so that it ends even where work is lost.
		wait := time.Duration(r.Float64() * float64(whole) * (0.5 + 0.1*float64(kills)))
		c, text := child(killed)
		timer := time.AfterFunc(wait, func() { c.Process.Kill() })
		err := c.Wait()
		if !timer.Stop() && err != nil {
			kills++
			continue
		}
		if err != nil {
			t.Fatalf("after %d kills: %v: %s", kills, err, text)
		}
		break
	}
	t.Logf("killed %d times", kills)
	sameFiles(t, "killed and gone on with", files(t, straight), files(t, killed))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
