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
// for ever, telling its process in the file waits once the first has its row.
func bundle(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script, err := os.ReadFile("gpu-suite.sh")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{
		"gpu-suite.sh": string(script),
		"bin/mop":      "#!/bin/sh\necho 'cuda:0  a card, compute capability 9.0'\n",
		"bin/python":   "#!/bin/sh\necho table of $2; cat $3/rows.tsv\n",
		"repo/runtime/device/cuda/device.test": "#!/bin/sh\necho '=== RUN   TestQuick'; echo '--- PASS: TestQuick (0.00s)'; echo '=== RUN   TestSlow'\n" +
			"cd " + dir + "/results; until grep -qs TestQuick kernels/rows.tsv kernels-quick/rows.tsv; do sleep 0.01; done\n" +
			"echo $$ >" + dir + "/waits; exec sleep 100\n",
	})
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
				part, kept := filepath.Join(dir, "results", "kernels"), []string{"a device is there\tok", "TestQuick\tok\t(0.00s)"}
				if args[0] == "--quick" {
					part += "-quick"
				}
				const stopped = "all tests of the device\tSTOPPED"
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
						kept = append(kept[:2:2], stopped)
						if table := read("table.md"); !strings.Contains(table, stopped) {
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

// Every test has its row; one that the process of all did not come to, or that failed in
// it, is tried alone; a part of one that was skipped is not passed over; --budget cuts off.
func TestRows(t *testing.T) {
	if _, err := exec.LookPath("timeout"); err != nil {
		t.Skip(err)
	}
	dir := bundle(t)
	write(t, dir, map[string]string{
		"repo/runtime/device/cuda/device.test": `#!/bin/sh
[ "$1" = -test.list ] && { printf 'TestA\nTestB\nTestC\nTestD\n'; exit; }
case "$*" in
*'^TestB$'*) echo '--- PASS: TestB (1.00s)'; exit 0 ;;
*'^TestD$'*) echo '--- PASS: TestD (1.00s)'; exit 0 ;;
esac
printf '=== RUN   TestA\n=== RUN   TestA/x\n--- PASS: TestA (0.10s)\n    --- PASS: TestA/x (0.10s)\n=== RUN   TestB\n'
printf -- '--- FAIL: TestB (0.20s)\n    b_test.go:1: no\n=== RUN   TestC\n--- PASS: TestC (0.30s)\n    --- SKIP: TestC/x (0.00s)\n=== RUN   TestD\npanic: no\n'
exit 2
`,
		"repo/prune/prune.test":             "#!/bin/sh\necho '--- PASS: TestGPUPrune (2.00s)'\n",
		"repo/prune/finetune/finetune.test": "#!/bin/sh\nexec sleep 100\n",
	})
	c := exec.Command("bash", filepath.Join(dir, "gpu-suite.sh"), "kernels", "--budget=10")
	c.Env = append(os.Environ(), "PYTHON="+filepath.Join(dir, "bin/python"))
	if said, err := c.Output(); err == nil || !strings.Contains(string(said), "TestA\tok\t(0.10s)\n") {
		t.Errorf("want a status other than 0 and the rows told, got %v: %s", err, said)
	}
	rows, err := os.ReadFile(filepath.Join(dir, "results/kernels/rows.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, string(rows), "a device is there\tok", "TestA\tok\t(0.10s)\n", "TestB\tFAIL\t(0.20s)\n", "TestC\tSKIPPED\t(0.30s)\n",
		"all tests of the device\tFAIL", "TestB alone\tok", "TestD alone\tok", "TestGPUPrune\tok\t(2.00s)\n", "prune against the CPU\tok",
		"recover against PyTorch\tTIME OUT", "racecheck\tNOT RUN")
	if strings.Contains(string(rows), "TestA alone") {
		t.Errorf("TestA was ok: want it not tried again, got\n%s", rows)
	}
}

// What a sanitizer sees has its rows too, beside those of the same tests without it.
func TestSanitizerRows(t *testing.T) {
	if _, err := exec.LookPath("timeout"); err != nil {
		t.Skip(err)
	}
	dir := bundle(t)
	write(t, dir, map[string]string{
		"repo/runtime/device/cuda/device.test": "#!/bin/sh\necho '--- PASS: TestA (9.00s)'; echo '=== RUN   TestB'; echo '--- SKIP: TestB (0.00s)'\n",
		"bin/compute-sanitizer":                "#!/bin/sh\necho \"$2 sees\"; while [ \"$1\" != 0 ]; do shift; done; shift; exec \"$@\"\n",
	})
	c := exec.Command("bash", filepath.Join(dir, "gpu-suite.sh"), "kernels", "--quick")
	c.Env = append(os.Environ(), "PYTHON="+filepath.Join(dir, "bin/python"), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	if err := c.Run(); err == nil {
		t.Error("a test was skipped: want a status other than 0")
	}
	rows, err := os.ReadFile(filepath.Join(dir, "results/kernels-quick/rows.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, string(rows), "a device is there\tok", "TestA\tok\t(9.00s)\n", "TestB\tSKIPPED\t(0.00s)\n", "tests, a few shapes\tSKIPPED",
		"memcheck TestA\tok\t(9.00s)\n", "memcheck TestB\tSKIPPED\t(0.00s)\n", "memcheck\tSKIPPED")
}

// inOrder wants texts one behind the other.
func inOrder(t *testing.T, text string, want ...string) {
	t.Helper()
	at := 0
	for _, w := range want {
		i := strings.Index(text[at:], w)
		if i < 0 {
			t.Fatalf("want %q, in its order, got\n%s", w, text)
		}
		at += i
	}
}

// write makes programs, or takes their place.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

// Every command of a part is started when there is time left.
func TestPartsRun(t *testing.T) {
	if _, err := exec.LookPath("timeout"); err != nil {
		t.Skip(err)
	}
	dir := bundle(t)
	write(t, dir, map[string]string{"repo/runtime/device/cuda/device.test": "#!/bin/sh\necho 'BenchmarkA 1 2 GB/s'\n", "bin/python": "#!/bin/sh\n"})
	for part, row := range map[string]string{"quality": "llama-2-7b five tasks\tok", "trace": "decode-64\tok", "speed": "llama-2-7b context 3968 int8\tok",
		"training": "llama-3-8b recompute\tok", "serving": "llama-3-8b serving\tok", "peers": "transformers\tok", "details": "llama-3-8b-rounded prefill\tok"} {
		c := exec.Command("bash", filepath.Join(dir, "gpu-suite.sh"), part)
		c.Env = append(os.Environ(), "PYTHON="+filepath.Join(dir, "bin/python"))
		if said, err := c.CombinedOutput(); err != nil || !strings.Contains(string(said), row) {
			t.Errorf("%s: want the row %q and every row ok, got %v: %s", part, row, err, said)
		}
	}
}

// The two runs of nine minutes start their parts in order, each in the time that is left, and a
// part for which there is none is named.
func TestRunsOfParts(t *testing.T) {
	if _, err := exec.LookPath("timeout"); err != nil {
		t.Skip(err)
	}
	for run, parts := range map[string][]string{"first": {"kernels-quick", "trace", "speed", "training"}, "second": {"serving", "kernels", "quality-quick", "peers", "details"}} {
		dir := bundle(t)
		write(t, dir, map[string]string{"repo/runtime/device/cuda/device.test": "#!/bin/sh\necho 'BenchmarkA 1 2 GB/s'\n", "bin/python": "#!/bin/sh\n",
			"repo/prune/prune.test": "#!/bin/sh\n", "repo/prune/finetune/finetune.test": "#!/bin/sh\n"})
		start := func(args ...string) string {
			c := exec.Command("bash", append([]string{filepath.Join(dir, "gpu-suite.sh"), run}, args...)...)
			c.Env = append(os.Environ(), "PYTHON="+filepath.Join(dir, "bin/python"))
			said, err := c.CombinedOutput()
			if err == nil {
				t.Errorf("%s %v: no sanitizer, or no time: want a status other than 0", run, args)
			}
			return string(said)
		}
		start()
		for _, part := range parts {
			if rows, err := os.ReadFile(filepath.Join(dir, "results", part, "rows.tsv")); err != nil || len(rows) == 0 {
				t.Errorf("%s: want rows of %s, got %q, %v", run, part, rows, err)
			}
		}
		if said := start("--budget=9"); strings.Count(said, "not started, no time left") != len(parts) {
			t.Errorf("%s: want every part named that has no time, got %s", run, said)
		}
	}
}

// A program that does not stop when its time is over is killed, so that it is not on the GPU
// beside the next one.
func TestStubbornProgram(t *testing.T) {
	if _, err := exec.LookPath("timeout"); err != nil {
		t.Skip(err)
	}
	dir := bundle(t)
	waits := filepath.Join(dir, "waits")
	write(t, dir, map[string]string{"bin/mop": "#!/bin/sh\ntrap '' TERM\necho $$ >" + waits + "\nwhile :; do sleep 0.1; done\n"})
	c := exec.Command("bash", filepath.Join(dir, "gpu-suite.sh"), "quality", "--budget=7")
	c.Env = append(os.Environ(), "PYTHON="+filepath.Join(dir, "bin/python"))
	if said, err := c.CombinedOutput(); err == nil || !strings.Contains(string(said), "five tasks\tTIME OUT") {
		t.Errorf("want the row TIME OUT and a status other than 0, got %v: %s", err, said)
	}
	text, err := os.ReadFile(waits)
	var pid int
	if _, scan := fmt.Sscan(string(text), &pid); err != nil || scan != nil {
		t.Fatal(err, scan)
	}
	eventually(t, "the program ends", func() bool { return syscall.Kill(pid, 0) != nil })
}
