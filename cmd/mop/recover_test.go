package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
)

// A model is trained on the demo's calibration stories and better on them after
// it; what it is cut from and an adapter come along.
func TestRecoverCommand(t *testing.T) {
	dir := t.TempDir()
	out, adapter, log := filepath.Join(dir, "out"), filepath.Join(dir, "adapter"), filepath.Join(dir, "log.jsonl")
	rows, err := os.ReadFile("../../bench/demo/text/calibration.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(data, []byte(strings.Join(strings.SplitAfter(string(rows), "\n")[:3], "")+"{\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	args := []string{"recover", "--model", demoDir, "--data", data, "--out", out, "--steps", "3", "--rank", "2", "--batch", "2",
		"--lr", "1e-3", "--save-adapter", adapter, "--log", log, "--json"}
	text, err := mop(t, "", args...)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Steps   int
		Skipped []struct{ Row int }
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Steps != 3 || len(r.Skipped) != 1 || r.Skipped[0].Row != 4 {
		t.Errorf("want 3 steps and row 4 skipped, got %s, %v", text, err)
	}
	if rows, err := os.ReadFile(log); err != nil || strings.Count(string(rows), "\n") != 3 {
		t.Errorf("log: %q, %v", rows, err)
	}
	m, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if _, err := os.Stat(filepath.Join(out, "tokenizer.json")); err != nil {
		t.Error(err)
	}
	// The adapter is one to begin with.
	if _, err := mop(t, "", "recover", "--model", demoDir, "--data", data, "--out", filepath.Join(dir, "again"), "--steps", "1", "--batch", "1", "--adapter-init", adapter); err != nil {
		t.Error(err)
	}
	// An empty directory is accepted, as prune accepts it; any other is not.
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := mop(t, "", "recover", "--model", demoDir, "--data", data, "--out", empty, "--steps", "1", "--batch", "1"); err != nil {
		t.Error(err)
	} else if _, err := os.Stat(filepath.Join(empty, "config.json")); err != nil {
		t.Error(err)
	}
	if _, err := mop(t, "", args...); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("want a refusal, got %v", err)
	}
}

// prune trains its targets' models by the adapters that it is asked for.
func TestPruneRecovers(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	text, err := mop(t, "", "prune", "--model", demoDir, "--out", out, "--targets", "0.05", "--sequence", "L", "--recover", "../../bench/demo/text/calibration.jsonl",
		"--recover-steps", "1", "--recover-rank", "3", "--recover-alpha", "7")
	if err != nil || !strings.HasSuffix(text, "0.05-recovered  trained\n") {
		t.Fatalf("got %q, %v", text, err)
	}
	var r struct {
		Settings struct{ Rank, Alpha, Steps float64 }
	}
	data, err := os.ReadFile(filepath.Join(out, "0.05-recovered", "recovery.json"))
	if err != nil || json.Unmarshal(data, &r) != nil || r.Settings.Rank != 3 || r.Settings.Alpha != 7 || r.Settings.Steps != 1 {
		t.Errorf("want rank 3, alpha 7, one step, got %s, %v", data, err)
	}
}

// On a real model at 20 %, training gives back at least half of the perplexity that
// pruning cost, on stories neither trained nor scored on; and the same training of
// the model that was not cut does not, so that it is not more training alone.
func TestRecoverStories(t *testing.T) {
	if testing.Short() {
		t.Skip("some ten seconds")
	}
	dir := t.TempDir()
	model, pruned := filepath.Join(dir, "model"), filepath.Join(dir, "pruned")
	run := func(args ...string) string {
		t.Helper()
		text, err := mop(t, "", args...)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	run("import", "llama2c", "--weights", testutil.DataPath(t, "stories260K/stories260K.bin"), "--tokenizer", testutil.DataPath(t, "stories260K/tok512.bin"), "--out", model)
	all, err := os.ReadFile(testutil.DataPath(t, "tinystories/tinystories_sample_2M.txt"))
	if err != nil {
		t.Fatal(err)
	}
	const split = "<|endoftext|>"
	stories := strings.Split(string(all), split)
	part := func(name string, from, to int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(stories[from:to], split)), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	evaluation, calibration, windows, training := part("evaluation.txt", 0, 60), part("calibration.txt", 60, 140), part("windows.txt", 140, 200), part("training.txt", 200, 1800)
	run("prune", "--model", model, "--out", pruned, "--targets", "0.2", "--exact-target", "--rule", "groups", "--criterion", "kl", "--calibration", calibration,
		"--prompts", "32", "--text", windows, "--split", split, "--windows", "8", "--context", "256")
	ppl := func(model string) (x float64) {
		t.Helper()
		var r struct{ PPL float64 }
		if err := json.Unmarshal([]byte(run("eval", "ppl", "--model", model, "--text", evaluation, "--split", split, "--max-tokens-per-document", "256", "--json")), &r); err != nil {
			t.Fatal(err)
		}
		return r.PPL
	}
	train := func(model, name string) string {
		t.Helper()
		out := filepath.Join(dir, name)
		run("recover", "--model", model, "--data", training, "--split", split, "--out", out, "--steps", "160", "--batch", "8", "--rank", "16", "--alpha", "32",
			"--dropout", "0", "--lr", "4e-3", "--max-length", "128", "--packing", "--checkpoint-every", "0")
		return out
	}
	cut := filepath.Join(pruned, "0.20")
	a, b, c, d := ppl(model), ppl(cut), ppl(train(cut, "cut")), ppl(train(model, "dense"))
	t.Logf("perplexity: dense %.3f, cut %.3f, cut and trained %.3f, dense and trained %.3f", a, b, c, d)
	if !(b-c >= (b-a)/2) {
		t.Errorf("want at least half of %.3f back, got %.3f", b-a, b-c)
	}
	if !(a-d < b-c) {
		t.Errorf("the dense model gains %.3f by the same training, the cut one %.3f", a-d, b-c)
	}
}

// An interrupted command says how to continue.
func TestInterrupted(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	c := exec.Command(program(t), "recover", "--model", demoDir, "--data", "../../bench/demo/text/recovery.txt", "--out", out, "--device", "cpu", "--epochs", "1000")
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
	defer late.Stop()
	for {
		if _, err := os.Stat(out + ".training"); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Skip(err)
	}
	err := c.Wait()
	if want := "mop: interrupted: the same command with --resume continues\n"; c.ProcessState.ExitCode() != 1 || !strings.HasSuffix(errs.String(), want) {
		t.Errorf("want status 1 and %q, got %v and %q", want, err, errs.String())
	}
}
