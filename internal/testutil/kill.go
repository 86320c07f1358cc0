package testutil

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// KillRepeatedly starts this binary's TestChild with the arguments and an output directory
// behind -- until it ends: once undisturbed, and once with SIGKILLs at random
// moments, after each of which it goes on. It returns the two outputs, which lie
// in directories of their own.
func KillRepeatedly(t *testing.T, args ...string) (straight, killed string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	straight, killed = filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
	child := func(out string) (*exec.Cmd, *bytes.Buffer) {
		c := exec.Command(exe, append(append([]string{"-test.run=^TestChild$", "--"}, args...), out)...)
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
	for kills := 0; ; {
		// Half of a whole run at most, so that several kills fall into it; later
		// ones may take longer, so that it ends even where work is lost each time.
		wait := time.Duration(r.Float64() * float64(whole) * (0.5 + 0.1*float64(kills)))
		c, text := child(killed)
		timer := time.AfterFunc(wait, func() { c.Process.Kill() })
		err := c.Wait()
		timer.Stop()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			kills++
			t.Logf("killed after %v of %v", wait.Round(time.Millisecond), whole.Round(time.Millisecond))
			continue
		}
		if err != nil {
			t.Fatalf("after %d kills: %v: %s", kills, err, text)
		}
		if kills == 0 {
			t.Error("no kill fell into the run")
		}
		return straight, killed
	}
}
