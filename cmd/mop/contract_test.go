package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets the test binary be the command itself where it is called so: see
// program.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "mop" {
		main()
	}
	os.Exit(m.Run())
}

// program is a path that runs mop as a process of its own, streams and exit
// status included.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mop")
	if err := os.Symlink(self, path); err != nil {
		t.Skip(err)
	}
	return path
}

// call runs a process and gives its streams and exit status.
func call(t *testing.T, path, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	c := exec.Command(path, args...)
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// A form is what JSON must look like: a string names a type, a map the fields that
// must be there (others may be too), a list of one form that of every element.
type (
	object = map[string]any
	list   = []any
)

// matches compares a value with a form and names the first place that differs.
func matches(at string, form, v any) error {
	switch f := form.(type) {
	case object:
		o, ok := v.(object)
		if !ok {
			return fmt.Errorf("%s: want an object, got %v", at, v)
		}
		for key, inner := range f {
			x, ok := o[key]
			if !ok {
				return fmt.Errorf("%s.%s: absent", at, key)
			}
			if err := matches(at+"."+key, inner, x); err != nil {
				return err
			}
		}
	case list:
		l, ok := v.([]any)
		if !ok || len(l) == 0 {
			return fmt.Errorf("%s: want a list, not empty, got %v", at, v)
		}
		for i, x := range l {
			if err := matches(fmt.Sprintf("%s[%d]", at, i), f[0], x); err != nil {
				return err
			}
		}
	case string:
		kind := map[bool]string{true: "number or null"}[v == nil]
		switch x := v.(type) {
		case string:
			kind = "string"
		case json.Number:
			if kind = "number"; !strings.ContainsAny(x.String(), ".eE") {
				kind = "whole"
			}
		}
		if kind != f && !(f == "number" && kind == "whole") && !(f == "number or null" && (kind == "number" || kind == "whole")) {
			return fmt.Errorf("%s: want a %s, got %v", at, f, v)
		}
	}
	return nil
}

func parse(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("stdout is not JSON: %v: %.200q", err, text)
	}
	if d.More() {
		t.Fatalf("more than one value on stdout: %.200q", text)
	}
	return v
}

// The command contract: others script against these names, types and statuses.
func TestContract(t *testing.T) {
	path, dir := program(t), t.TempDir()
	out := filepath.Join(dir, "out")
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte("One day, Tom went to the park.|Once upon a time there was a cat."), 0o666); err != nil {
		t.Fatal(err)
	}
	shape := object{"heads": "whole", "kv_heads": "whole", "head_dim": "whole", "mlp": "whole"}
	description := object{"params": "whole", "bytes": "whole", "dtype": "string", "vocab": "whole", "d_model": "whole", "layers": list{shape}}
	step := object{"step": "whole", "kind": "string", "params": "whole", "compression": "number",
		"shapes": list{object{"heads": "whole", "kv_heads": "whole", "mlp": "whole"}}}
	plan := object{"base": object{"params": "whole"}, "steps": list{step}}
	scored := object{"seed": "whole", "rule": "string", "criterion": "string", "base": object{"params": "whole"},
		"texts":  object{"calibration": "string", "text": "string"},
		"steps":  list{object{"scores": object{"depth": "number", "width": "number"}}},
		"layers": list{object{"from": "whole", "heads": list{"whole"}, "kv_heads": list{"whole"}, "mlp": list{"whole"}}}}
	row := object{"model": "string", "params": "whole", "compression": "number", "e2e_ms": object{"median": "number", "mean": "number", "sd": "number or null"},
		"ttft_ms": "number", "itl_ms": "number", "prefill_tps": "number", "decode_tps": "number",
		"speedup": object{"median": "number", "lo": "number or null", "hi": "number or null"}, "gain": "number", "gain_per_compression": "number or null",
		"bytes_per_token": "whole", "read_gbps": "number", "share": "number", "peak_bytes": "whole", "load_ms": "number",
		"device": "string", "cpu": "string", "threads": "whole", "commit": "string"}
	for _, c := range []struct {
		form any
		args string
	}{
		{description, "inspect " + demoDir + " --json"},
		{description, "inspect preset:llama-2-7b --json"},
		{list{list{"number"}}, "logits --model " + demoDir + " --ids 1,2,3 --json"},
		{plan, "plan --model preset:llama-3-8b --sequence LGG --rule mlp-only --json"},
		{plan, "plan --model " + demoDir + " --criterion random --seed 3 --target 0.2 --json"},
		{plan, "plan --model " + demoDir + " --criterion random --seed 3 --steps 2 --rule exact --round-to 8 --json"},
		{object{"ppl": "number", "nll": "number", "tokens": "whole", "commit": "string"}, "eval ppl --model " + demoDir + " --text " + text + " --json"},
		{object{"ppl": "number", "nll": "number", "tokens": "whole", "commit": "string"},
			"eval ppl --model " + demoDir + " --text " + text + " --context 8 --stride 3 --split | --max-tokens-per-document 12 --json"},
		{nil, "prune --model " + demoDir + " --out " + out + " --targets 0.04 --criterion kl --calibration ../../bench/demo/text/calibration.jsonl --prompts 2 --text " + text + " --windows 1 --context 16 --seed 5"},
		{object{"mean": "number", "median": "number", "p99": "number", "same_top1": "number", "tokens": "whole", "bos": "string", "commit": "string"},
			"eval kl --model " + out + "/0.04 --reference " + demoDir + " --text " + text + " --json"},
		{object{"model": "string", "bos": "string", "average": object{"acc": "number", "acc_norm": "number"}, "commit": "string",
			"tasks": object{"piqa": object{"n": "whole", "acc": "number", "acc_stderr": "number", "acc_norm": "number", "acc_norm_stderr": "number", "file": "string"},
				"winogrande": object{"n": "whole", "acc": "number", "acc_stderr": "number"}}},
			"eval tasks --model " + demoDir + " --tasks piqa,winogrande --data ../../bench/tasks/zeroshot/testdata/synthetic --limit 2 --bos on --json"},
		{list{row}, "bench " + demoDir + "," + out + "/0.04 --format json --in 3 --out 4 --batch 2 --runs 3 --discard 1"},
	} {
		got, errs, status := call(t, path, "", strings.Fields(c.args)...)
		if status != 0 {
			t.Fatalf("mop %s: status %d: %s", c.args, status, errs)
		}
		if c.form == nil {
			continue
		}
		if err := matches("$", c.form, parse(t, got)); err != nil {
			t.Errorf("mop %s: %v", c.args, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(out, "0.04", "plan.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := matches("plan.json", scored, parse(t, string(data))); err != nil {
		t.Error(err)
	}
	logits, _, _ := call(t, path, "", "logits", "--model", demoDir, "--ids", "1,2,3", "--json")
	if rows := parse(t, logits).([]any); len(rows) != 3 || len(rows[0].([]any)) != 1024 {
		t.Errorf("logits: want [3][1024], got %d rows", len(rows))
	}
}

// stdin goes in byte for byte, ids come out as one array; a continuation is its
// exact bytes, without a newline where nobody watches.
func TestContractText(t *testing.T) {
	path := program(t)
	ids, _, _ := call(t, path, "One day, Tom", "tokenize", "--model", demoDir)
	bare, _, _ := call(t, path, "One day, Tom", "tokenize", "--model", demoDir, "--no-bos")
	var a, b []int
	if json.Unmarshal([]byte(ids), &a) != nil || json.Unmarshal([]byte(bare), &b) != nil || a[0] != 1 || !slices.Equal(a[1:], b) {
		t.Errorf("want one array, and BOS first unless --no-bos: %q, %q", ids, bare)
	}
	for _, c := range []struct{ stdin, flag, want string }{
		{"</s>", "--special", "[1,2]\n"},
		{"", "--no-bos", "[]\n"},
		{"", "--special", "[1]\n"},
	} {
		if got, errs, _ := call(t, path, c.stdin, "tokenize", "--model", demoDir, c.flag); got != c.want {
			t.Errorf("tokenize %s of %q: want %q, got %q %s", c.flag, c.stdin, c.want, got, errs)
		}
	}
	if plain, _, _ := call(t, path, "</s>", "tokenize", "--model", demoDir); plain == "[1,2]\n" {
		t.Error("the text of a special token is parsed without --special")
	}
	full, errs, status := call(t, path, "", "run", "--model", demoDir, "--prompt", "", "--max-tokens", "12", "--ignore-eos")
	zero, _, _ := call(t, path, "", "run", "--model", demoDir, "--prompt", "", "--max-tokens", "12", "--ignore-eos", "--temperature", "0")
	if status != 0 || errs != "" || full == "" || strings.HasSuffix(full, "\n") || full != zero {
		t.Errorf("run: status %d, %q, %q with --temperature 0, stderr %q", status, full, zero, errs)
	}
}

// Exit status 2 is for what was typed wrong, 1 for what failed; one line on stderr,
// none on stdout.
func TestContractStatus(t *testing.T) {
	path := program(t)
	nan := copyDemo(t)
	corrupt(t, filepath.Join(nan, "model.safetensors"))
	for _, c := range []struct {
		status int
		says   string
		args   []string
	}{
		{2, "--device", []string{"inspect", demoDir, "--device", "tpu"}},
		{2, "--threads", []string{"tokenize", "--model", demoDir, "--threads", "-1"}},
		{2, "--model", []string{"run", "--model", "", "--prompt", "x"}},
		{2, "--top-p", []string{"run", "--model", demoDir, "--top-p", "0"}},
		{2, "temperature", []string{"run", "--model", demoDir, "--temperature", "NaN"}},
		{2, "--repetition-penalty", []string{"run", "--model", demoDir, "--repetition-penalty", "0"}},
		{2, "--max-tokens", []string{"run", "--model", demoDir, "--max-tokens", "-1"}},
		{2, "--max-tokens", []string{"run", "--model", demoDir, "--max-tokens", "99999999999999999999"}},
		{2, "unknown command", []string{"fly"}},
		{1, "outside the vocabulary", []string{"logits", "--model", demoDir, "--ids", "1024"}},
		{1, demoDir, []string{"run", "--model", demoDir, "--prompt", strings.Repeat("word ", 600)}},
		{1, demoDir, []string{"run", "--model", demoDir, "--max-tokens", "600", "--ignore-eos"}},
		{1, demoDir, []string{"logits", "--model", demoDir, "--ids", strings.Repeat("1,", 512) + "1"}},
		{1, "nowhere: no such directory", []string{"inspect", "nowhere"}},
		{1, "not finite", []string{"run", "--model", nan, "--prompt", "x"}},
		{1, "layer 0", []string{"logits", "--model", nan, "--ids", "1"}},
		{1, "not finite", []string{"eval", "ppl", "--model", nan, "--text", "main.go"}},
		{1, "not finite", []string{"bench", nan, "--runs", "2", "--discard", "1", "--out", "2"}},
		{1, "regular file", []string{"eval", "ppl", "--model", "/dev", "--text", "main.go"}},
	} {
		if c.says == "regular file" {
			c.args[3] = withConfig(t, func(path string) error { return os.Symlink("/dev/zero", path) })
		}
		out, errs, status := call(t, path, "", c.args...)
		if status != c.status || !strings.Contains(errs, c.says) || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("mop %.80q: want status %d and a line with %q, got %d, stdout %.80q, stderr %q", c.args, c.status, c.says, status, out, errs)
		}
	}
	// A full context is the model's limit and no failure: the text is whole as far
	// as it goes, and stderr says why it ends.
	out, errs, status := call(t, path, "", "run", "--model", demoDir, "--max-tokens", "9223372036854775807", "--repetition-penalty", "1.1")
	if status != 0 || out == "" {
		t.Errorf("a huge --max-tokens: status %d, %q, %.80q", status, errs, out)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	defer full.Close()
	for _, args := range [][]string{{"inspect", demoDir}, {"--help"}, {"plan", "--model", demoDir, "--sequence", "L"},
		{"run", "--model", demoDir, "--max-tokens", "2", "--ignore-eos"}} {
		c := exec.Command(path, args...)
		var errs bytes.Buffer
		c.Stdout, c.Stderr = full, &errs
		if err := c.Run(); err == nil || c.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("mop %v to a full disk: %v, %q", args, err, errs.String())
		}
	}
}

// copyDemo is a copy of the demo's model that a test may change.
func copyDemo(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(demoDir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// withConfig is a copy of the demo's model whose config.json create makes.
func withConfig(t *testing.T, create func(path string) error) string {
	t.Helper()
	dir := copyDemo(t)
	path := filepath.Join(dir, "config.json")
	if err := errors.Join(os.Remove(path), create(path)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// corrupt puts a bfloat16 NaN where the middle of layer 0's tensors is.
func corrupt(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header := object{}
	n := int(data[0]) | int(data[1])<<8 | int(data[2])<<16
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	at := header["model.layers.0.mlp.up_proj.weight"].(object)["data_offsets"].([]any)[0].(float64)
	data[8+n+int(at)], data[8+n+int(at)+1] = 0xc0, 0x7f
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}
