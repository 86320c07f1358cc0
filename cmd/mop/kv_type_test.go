package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// The KV cache of the model under test has the type of --kv-type, that of the reference float32:
// the divergence of a model from itself is what the type loses.
func TestKLOfCacheTypes(t *testing.T) {
	kl := func(kind string) float64 {
		t.Helper()
		out, err := mop(t, "", "eval", "kl", "--model", demoDir, "--reference", demoDir, "--text", "../../bench/demo/text/windows.txt", "--max-tokens-per-document", "300", "--kv-type", kind, "--json")
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Mean float64 `json:"mean"`
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		return r.Mean
	}
	f32, f16, eight := kl("f32"), kl("f16"), kl("int8")
	if f32 > 1e-12 || !(f16 > 1e-12) || !(eight > f16) || eight > 0.01 {
		t.Errorf("want no divergence in f32, some in f16, more in int8, got %g, %g and %g", f32, f16, eight)
	}
}

// What generates text, or measures how fast it is generated, has a cache of float16 unless
// --kv-type says otherwise; what computes losses has float32. Commands that do both have
// float16 for the latency alone.
func TestDefaultCacheTypes(t *testing.T) {
	for flag, want := range map[string]string{"": "f16", "f32": "f32", "int8": "int8"} {
		args := []string{"bench", demoDir, "--in", "4", "--out", "2", "--runs", "1", "--discard", "0", "--format", "json", "--device", "cpu"}
		if flag != "" {
			args = append(args, "--kv-type", flag)
		}
		out, err := mop(t, "", args...)
		if err != nil {
			t.Fatal(err)
		}
		var rows []struct {
			KVType string `json:"kv_type"`
		}
		if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || rows[0].KVType != want {
			t.Errorf("mop bench --kv-type %q: want a row of %s, got %v %v", flag, want, rows, err)
		}
	}
	for name, want := range map[string]string{"run": "f16", "serve": "f16", "bench": "f16", "sweep": "f16", "plan": "f16", "validate": "f16", "prune": "f16", "search": "f16", "compare": "f16", "eval": "f32", "logits": "f32"} {
		args := []string{name, "--help"}
		if name == "eval" {
			args = []string{name, "ppl", "--help"}
		}
		if help, err := mop(t, "", args...); err != nil || !strings.Contains(help, "(default "+want+";") {
			t.Errorf("mop %s --help: want the default %s, got %v\n%s", name, want, err, help)
		}
	}
	common := []string{"eval", "kl", "--model", demoDir, "--reference", demoDir, "--text", "../../bench/demo/text/windows.txt", "--max-tokens-per-document", "100", "--json"}
	precise, err := mop(t, "", append(common, "--kv-type", "f32")...)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := mop(t, "", common...); err != nil || out != precise {
		t.Errorf("mop eval kl: want the output with f32 by default, got %v\n%s", err, out)
	}
}
