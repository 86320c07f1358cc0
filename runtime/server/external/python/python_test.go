// Package python tests the server with the official Python client and lm-evaluation-harness.
package python

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mop/runtime/server/external/served"
)

// program gives a Python that has the packages of clients.py. MOP_PYTHON names one other than
// python3.
func program(t *testing.T) string {
	t.Helper()
	name := os.Getenv("MOP_PYTHON")
	if name == "" {
		name = "python3"
	}
	if out, err := exec.Command(name, "-c", "import openai, pydantic, lm_eval.models.openai_completions").CombinedOutput(); err != nil {
		t.Skipf("%s has no openai and lm-eval[api]: %v, %.300s", name, err, out)
	}
	return name
}

// All checks of clients.py pass: the official client, classes of Pydantic as schemas, and the
// harness's requests.
func TestClients(t *testing.T) {
	python := program(t)
	script, err := filepath.Abs("../../clients/clients.py")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, script, served.Start(t, "", served.Demo("demo"))).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed := 0
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "ok ") {
			passed++
		}
	}
	if passed < 18 {
		t.Errorf("want at least 18 checks, got %d:\n%s", passed, out)
	}
}
