// Package engines compares models that mop writes in other engines: see run.sh. Its test
// holds mop to what transformers gave, without Python.
package engines

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
	"mop/runtime/open"
)

// Every case, with the same random weights, gives transformers' logits and greedy tokens
// (testdata/golden.json, made by check.py).
func TestCasesAreTransformers(t *testing.T) {
	var golden struct {
		Models []struct {
			Case   string
			IDs    []int
			Greedy []int
			Logits [][]float64 `json:"every_97th"` // of the positions of IDs
		}
	}
	text, err := os.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(text, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	cases, err := filepath.Glob("cases/*.json")
	if err != nil || len(cases) != len(golden.Models) {
		t.Fatalf("want a golden model for each of %v, got %d, %v", cases, len(golden.Models), err)
	}
	for _, g := range golden.Models {
		t.Run(g.Case, func(t *testing.T) {
			got := caseLogits(t, g.Case, append(g.IDs, g.Greedy...))
			top, worst := 0.0, 0.0
			for i, row := range g.Logits {
				for k, want := range row {
					top = max(top, math.Abs(want))
					if d := math.Abs(want - float64(got[i][97*k])); d > worst || d != d {
						worst = d
					}
				}
			}
			if !(worst <= 2e-5*top+1e-6) { // 1e-6: the golden file is rounded
				t.Errorf("logits differ by %g, the largest is %g", worst, top)
			}
			for i, want := range g.Greedy {
				if best := argmax(got[len(g.IDs)+i-1]); best != want {
					t.Fatalf("greedy token %d: want %d, got %d", i, want, best)
				}
			}
		})
	}
}

// caseLogits writes the model of a case as `mop init --seed 1` does, and computes the
// logits of some tokens.
func caseLogits(t *testing.T, name string, ids []int) [][]float32 {
	t.Helper()
	shape, err := config.Load(filepath.Join("cases", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	shape.SetHFType("")
	dir := filepath.Join(t.TempDir(), name)
	if err := checkpoint.WriteUntrained(dir, shape, 1, open.StoredType(shape), checkpoint.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	src, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	return logits(t, src, ids)
}

func argmax(logits []float32) int {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return best
}

// Everything that make engines needs lies here, and the Python files name what they run.
func TestFiles(t *testing.T) {
	text, err := os.ReadFile("run.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"environment.sh", "check.py", "torchrun.sh", "finetune.py"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(string(text), "llamacpp.py") {
		t.Error("run.sh does not run llamacpp.py")
	}
}

// logits are those of the CPU device after every token.
func logits(t *testing.T, src checkpoint.Source, ids []int) [][]float32 {
	t.Helper()
	dev, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cache, err := open.Cache(dev, m.Config, 1, len(ids))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: ids}}}); err != nil {
		t.Fatal(err)
	}
	rows := make([]int, len(ids))
	for i := range rows {
		rows[i] = i
	}
	var out [][]float32
	if err := m.Logits(rows, func(_ int, z []float32) error {
		out = append(out, slices.Clone(z))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}
