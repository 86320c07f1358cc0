package main

import (
	"bytes"
	"errors"
	"mop/runtime/checkpoint"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Layers with one number of query heads are exported as Nemotron-NAS with the same
// tensors; others are refused with the name of the layer.
func TestExportNemotronNAS(t *testing.T) {
	model, out := initCase(t, "../testdata/nemotron-nas"), filepath.Join(t.TempDir(), "nas")
	if _, err := mop(t, "", "export", "nemotron-nas", "--model", model, "--out", out); err != nil {
		t.Fatal(err)
	}
	a, err := checkpoint.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, info := range checkpoint.ExpectedTensors(a.Config()) {
		x, errA := a.Tensor(info.Name)
		y, errB := b.Tensor(info.Name)
		if errA != nil || errB != nil || !bytes.Equal(x.Data, y.Data) {
			t.Errorf("%s differs: %v, %v", info.Name, errA, errB)
		}
	}
	for _, name := range []string{"configuration_nemotron_nas.py", "tokenizer.json", "README.md"} {
		readText(t, out, name)
	}
	if _, err := os.Stat(filepath.Join(out, "modeling_mop_llama.py")); err == nil {
		t.Error("the remote code of another form is there")
	}
	refused := filepath.Join(t.TempDir(), "no")
	for name, want := range map[string]string{"different": "layer 0: has an MLP", "groups": "layer 0: has an MLP, but neither it nor a layer before it has attention"} {
		if _, err := mop(t, "", "export", "nemotron-nas", "--model", initCase(t, name), "--out", refused); err == nil || errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", name, want, err)
		}
	}
	if _, err := os.Stat(refused); err == nil {
		t.Error("a refused export left something")
	}
}
