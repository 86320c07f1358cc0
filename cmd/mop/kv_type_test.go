package main

import (
	"encoding/json"
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
