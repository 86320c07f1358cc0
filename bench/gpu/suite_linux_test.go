// Package gpu holds the GPU suite's scripts; see README.md.
package gpu

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bundle is a folder as bundle.sh makes it, of programs that only wait: the second test
// for ever, telling its process in the file waits.
func bundle(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script, err := os.ReadFile("gpu-suite.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"gpu-suite.sh": string(script),
		"bin/mop":      "#!/bin/sh\necho 'cuda:0  a card, compute capability 9.0'\n",
		"bin/python":   "#!/bin/sh\necho table of $2; cat $3/rows.tsv\n",
		"repo/runtime/device/cuda/device.test": "#!/bin/sh\n[ $1 = -test.list ] && { echo TestQuick; echo TestSlow; exit; }\n" +
			"case \"$*\" in *TestSlow*|*-test.short*) echo $$ >" + dir + "/waits; exec sleep 100;; esac\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// A part that is stopped in the middle keeps its rows, says what it was at, and leaves
// nothing running; one that is killed keeps its rows and leaves nothing either. The
// next run keeps an earlier one's.
func TestStopped(t *testing.T) {
	for _, tool := range []string{"bash", "timeout", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	for _, args := range [][]string{{"kernels"}, {"--quick"}} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
			t.Run(fmt.Sprint(args, sig), func(t *testing.T) {
				dir := bundle(t)
				part, kept := filepath.Join(dir, "results", "kernels"), []string{"a device is there\tok", "TestQuick\tok"}
				if args[0] == "--quick" {
					part, kept = part+"-quick", kept[:1]
				}
				start := func() *exec.Cmd {
					c := exec.Command("bash", append([]string{filepath.Join(dir, "gpu-suite.sh")}, args...)...)
					c.Env = append(os.Environ(), "PYTHON="+filepath.Join(dir, "bin/python"))
					if err := c.Start(); err != nil {
						t.Fatal(err)
					}
					return c
				}
				waits := filepath.Join(dir, "waits")
				read := func(name string) string { b, _ := os.ReadFile(filepath.Join(part, name)); return string(b) }
				var pid int
				for try := range 2 {
					os.Remove(waits)
					c := start()
					eventually(t, "the slow test starts", func() bool {
						text, _ := os.ReadFile(waits)
						n, _ := fmt.Sscan(string(text), &pid)
						return n == 1
					})
					if err := c.Process.Signal(sig); err != nil {
						t.Fatal(err)
					}
					if err := c.Wait(); err == nil {
						t.Error("want a status other than 0")
					}
					eventually(t, "the slow test ends", func() bool { return syscall.Kill(pid, 0) != nil })
					if args[0] != "--quick" && sig != syscall.SIGKILL {
						kept = append(kept[:2:2], "TestSlow\tSTOPPED")
						if table := read("table.md"); !strings.Contains(table, "TestSlow\tSTOPPED") {
							t.Errorf("want a table of the rows there are, got %q", table)
						}
					}
					for _, row := range kept {
						if rows := read("rows.tsv"); !strings.Contains(rows, row) {
							t.Errorf("want the row %q kept, got %q", row, rows)
						}
					}
					if old, _ := filepath.Glob(part + "-before-*/rows.tsv"); len(old) != try {
						t.Errorf("want the rows of %d earlier runs, got %v", try, old)
					}
				}
			})
		}
	}
}
