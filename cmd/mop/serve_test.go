package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startServe runs mop serve until it is ready, and gives its address.
func startServe(t *testing.T, args ...string) (c *exec.Cmd, url string) {
	t.Helper()
	c = exec.Command(program(t), append([]string{"serve", "--port", "0", "--served-model-name", "demo"}, args...)...)
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	for url == "" && lines.Scan() {
		url = regexp.MustCompile(`http://[0-9.:]+`).FindString(lines.Text())
	}
	go io.Copy(io.Discard, stderr)
	for ready := false; !ready; time.Sleep(time.Millisecond) {
		resp, err := http.Get(url + "/health")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		ready = resp.StatusCode == http.StatusOK
	}
	return c, url
}

// mop serve finishes what runs after SIGTERM and exits with status 0.
func TestServeFinishesOnSIGTERM(t *testing.T) {
	c, url := startServe(t, demoDir)
	resp, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"model":"demo","prompt":"Once","max_tokens":300,"ignore_eos":true,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("the stream was cut: %v, %.200q", err, rest)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("want status 0, got %v", err)
	}
}

// When nothing can be computed any more, as after the loss of a device, the request gets 503 and
// the server ends with a status of its own. Here the file of the weights is cut.
func TestServeStatusOfALostDevice(t *testing.T) {
	dir := copyDemo(t)
	c, url := startServe(t, dir)
	path := filepath.Join(dir, "model.safetensors")
	st, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, st.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"prompt":"Once","max_tokens":3}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("want an answer of 503 and the status 3, got %d and %v", resp.StatusCode, err)
	}
}

func TestServeRefuses(t *testing.T) {
	for _, args := range []string{
		"serve", "serve " + demoDir + " --host 0.0.0.0", "serve " + demoDir + " --kv-memory 4X", "serve " + demoDir + " " + demoDir, "serve " + demoDir + " --max-batch 0",
		"serve " + demoDir + " --port 65536", "serve " + demoDir + " --port -1", "serve " + demoDir + " --drain 0s",
		"serve " + demoDir + " --served-model-name a,b", "bench serve", "bench serve " + demoDir + " --in 0", "bench serve " + demoDir + " --rates x", "bench serve " + demoDir + " --rounds 0", "bench serve " + demoDir + " --format xml",
		"run --model " + demoDir + " --chat --prompt a", "run --model " + demoDir + " --system a",
	} {
		if _, err := mop(t, "", strings.Fields(args)...); err == nil || !strings.HasPrefix(err.Error(), errUsage.Error()) {
			t.Errorf("mop %s: want a usage error, got %v", args, err)
		}
	}
	var logged bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	for _, args := range []string{"nowhere", t.TempDir(), demoDir + " --draft nowhere", demoDir + " --chat-template nowhere"} {
		_, err := mop(t, "", append([]string{"serve", "--port", "0"}, strings.Fields(args)...)...)
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("serve %s: want one line, got %v", args, err)
		}
	}
	if strings.Contains(logged.String(), "listening") {
		t.Errorf("want no server without a model, got %s", &logged)
	}
}

// Two models under load, in a closed and in an open loop.
func TestBenchServe(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(other, os.DirFS(demoDir)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "report")
	out, err := mop(t, "", "bench", "serve", demoDir+","+other, "--concurrency", "1,3", "--rates", "50", "--in", "8:3", "--out", "5", "--requests", "6", "--rounds", "2", "--max-ttft", "10s", "--format", "json", "--report", dir)
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Rows []struct {
			Target   string
			Requests int
			Errors   int
			Output   float64 `json:"output_tokens_per_s"`
			Goodput  float64 `json:"goodput_per_s"`
			Speedup  float64
			TTFT     struct{ Count int }
		}
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Rows) != 6 {
		t.Fatalf("want 3 loads of 2 models, got %s", out)
	}
	for i, row := range result.Rows {
		if row.Requests != 12 || row.Errors != 0 || row.TTFT.Count != 12 || row.Output <= 0 || row.Goodput <= 0 || (row.Speedup == 1) != (i%2 == 0) {
			t.Errorf("row %d: %+v", i, row)
		}
	}
	for _, name := range []string{"report.md", "results.json", "samples.jsonl", "throughput.png", "speedup.svg"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
