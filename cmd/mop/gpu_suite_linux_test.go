package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every command line of the GPU suite has flags and values that this program takes. There is no
// GPU here: a command ends where it opens the device.
func TestGPUSuiteCommands(t *testing.T) {
	for _, tool := range []string{"bash", "timeout"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	for part, least := range map[string]int{"trace": 8, "speed": 16, "training": 10, "serving": 2, "details": 8, "quality": 1} {
		t.Run(part, func(t *testing.T) {
			dir := t.TempDir()
			log := filepath.Join(dir, "log")
			script, err := os.ReadFile("../../bench/gpu/gpu-suite.sh")
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{
				"gpu-suite.sh":                         string(script),
				"bin/python":                           "#!/bin/sh\n",
				"repo/runtime/device/cuda/device.test": "#!/bin/sh\necho BenchmarkA 1 2 GB/s\n",
				"bin/mop":                              fmt.Sprintf("#!/bin/sh\n'%s' \"$@\"; status=$?\necho \"$status $*\" >>'%s'\n[ $status -ne 2 ]\n", program(t), log),
			} {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			picture, err := filepath.Abs("../../runtime/vision")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(picture, filepath.Join(dir, "repo/runtime/vision")); err != nil {
				t.Fatal(err)
			}
			c := exec.Command("bash", filepath.Join(dir, "gpu-suite.sh"), part)
			c.Env = append(os.Environ(), "PYTHON="+filepath.Join(dir, "bin/python"))
			said, err := c.CombinedOutput()
			if err != nil {
				t.Errorf("want every row ok, got %v: %s", err, said)
			}
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			for _, line := range lines {
				status, command, _ := strings.Cut(line, " ")
				if status == "2" || strings.HasPrefix(command, "plan") && !strings.Contains(command, "--verify") && status != "0" {
					t.Errorf("mop %s: got status %s", command, status)
				}
			}
			if len(lines) < least {
				t.Errorf("want %d commands or more, got %d", least, len(lines))
			}
		})
	}
}
