package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Commands that run models accept int8 weights and bfloat16 activations, whose divergence
// from the stored model is small but not 0.
func TestInt8WeightsAndRoundedActivations(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, []byte("One day, Tom went to the park. He saw a red ball and was happy. Tom gave the ball to Anna."), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"--weights", "int8"}, {"--activations", "bfloat16"}} {
		out, err := mop(t, "", append([]string{"eval", "kl", "--model", demoDir, "--reference", demoDir, "--text", text, "--json"}, flags...)...)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Mean float64
			Same float64 `json:"same_top1"`
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil || !(d.Mean > 0 && d.Mean < 0.01 && d.Same > 0.8) {
			t.Errorf("%v: want a small divergence above 0, got %s, %v", flags, out, err)
		}
		out, err = mop(t, "", append([]string{"run", "--model", demoDir, "--prompt", "One day, Tom", "--max-tokens", "8", "--ignore-eos"}, flags...)...)
		if err != nil || out == "" {
			t.Errorf("%v: %q, %v", flags, out, err)
		}
	}
	bytes := map[string]float64{}
	for _, weights := range []string{"stored", "int8"} {
		out, err := mop(t, "", "bench", demoDir, "--weights", weights, "--in", "3", "--out", "4", "--runs", "3", "--discard", "1", "--format", "json")
		var rows []struct {
			Bytes float64 `json:"bytes_per_token"`
		}
		if err != nil || json.Unmarshal([]byte(out), &rows) != nil || len(rows) != 1 {
			t.Fatalf("%s: %s, %v", weights, out, err)
		}
		bytes[weights] = rows[0].Bytes
	}
	// Of 2 bytes 1 is left, but rows of 96 numbers are filled up to 128.
	if share := bytes["int8"] / bytes["stored"]; !(share > 0.5 && share < 2./3) {
		t.Errorf("int8 reads %v bytes a token, stored weights %v", bytes["int8"], bytes["stored"])
	}
	if _, err := mop(t, "", "run", "--model", demoDir, "--weights", "int8", "--activations", "bfloat16"); err == nil || !strings.Contains(err.Error(), "--activations bfloat16") {
		t.Errorf("both at once: want a refusal, got %v", err)
	}
}
