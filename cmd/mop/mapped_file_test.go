package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// If another program truncates a weights file while a command uses it, the command ends
// with one line that names the file, and with status 1.
func TestTruncatedWeights(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc says when the file is mapped")
	}
	dir := filepath.Join(t.TempDir(), "b")
	if err := os.CopyFS(dir, os.DirFS(demoDir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	c := exec.Command(program(t), "bench", dir, "--runs", "100000")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	c.Env = append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
	defer late.Stop()
	maps := filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "maps")
	for {
		text, err := os.ReadFile(maps)
		if err != nil || len(text) == 0 {
			t.Fatalf("ended early: %v, stderr %s", err, stderr.String())
		}
		if strings.Contains(string(text), path) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	st, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, st.Size()/2) // the header stays, in case it is still being read
	}
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	err = c.Wait()
	want := "mop: " + path + ": changed or unreadable while in use\n"
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || stderr.String() != want || stdout.Len() > 0 {
		t.Errorf("want status 1 and %q, got %v, stdout %q, stderr %.2000s", want, err, stdout.String(), stderr.String())
	}
}
