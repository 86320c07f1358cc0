package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mop/prune/finetune"
	"mop/runtime/checkpoint"
)

// An untrained model has the config's shape and type, the tokenizer's files, and
// one set of weights a seed; it knows nothing, and training teaches it.
func TestInit(t *testing.T) {
	dir := t.TempDir()
	shape, err := os.ReadFile(filepath.Join(demoDir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.json")
	shape = bytes.Replace(shape, []byte(`"num_hidden_layers": 22`), []byte(`"num_hidden_layers": 2`), 1)
	if err := os.WriteFile(config, shape, 0o666); err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for name, seed := range map[string]string{"a": "1", "b": "1", "c": "2"} {
		made[name] = filepath.Join(dir, name)
		if _, err := mop(t, "", "init", "--config", config, "--tokenizer", demoDir, "--seed", seed, "--out", made[name]); err != nil {
			t.Fatal(err)
		}
	}
	sum := func(name string) string {
		d, err := checkpoint.Open(made[name])
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		x, err := d.Tensor(checkpoint.LayerName(1, checkpoint.Projections()[0]))
		if err != nil {
			t.Fatal(err)
		}
		return string(x.Data)
	}
	if sum("a") != sum("b") || sum("a") == sum("c") {
		t.Error("want the same weights for one seed, others for another")
	}
	trained := filepath.Join(dir, "trained")
	text, err := mop(t, "", "recover", "--full", "--model", made["a"], "--data", "../../bench/demo/text/windows.txt", "--split", "<|endoftext|>", "--out", trained,
		"--steps", "8", "--batch", "4", "--lr", "3e-3", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r finetune.Result
	if err != nil || json.Unmarshal([]byte(text), &r) != nil {
		t.Fatalf("%v: %q", err, text)
	}
	if chance := math.Log(1024); math.Abs(float64(r.FirstLoss)-chance) > 0.5 || r.LastLoss > r.FirstLoss-0.5 {
		t.Errorf("want a loss of about %.2f that falls, got %.2f and then %.2f", chance, r.FirstLoss, r.LastLoss)
	}
}
