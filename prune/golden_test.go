package prune

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/llama2c"
)

// goldenStep is a step as testdata/prune.py takes it.
type goldenStep struct {
	Kind        plan.Kind
	Forced      bool
	Scores      map[plan.Kind]float64
	Params      int64
	Compression float64
	Groups      float64
	Layers      []struct {
		From    int
		Heads   []int
		KVHeads []int `json:"kv_heads"`
		MLP     []int
	}
}

// Complete runs on a trained model agree with testdata/prune.py, which uses transformers
// and numpy: the kind of every step, the criterion's scores, forced steps, and the kept
// layers, heads and neurons, with uniform and with global allocation. Both the journal
// and plan.json are compared.
func TestPruneGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/prune.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Calibration, Text []string
		Context, Windows  int
		Cases             []struct {
			Rule, Allocation, Criterion, Sequence string
			Steps                                 []goldenStep
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 6 {
		t.Fatalf("want 6 cases, got %d", len(golden.Cases))
	}
	dir := t.TempDir()
	model := filepath.Join(dir, "model")
	if err := llama2c.Import(testutil.DataPath(t, "stories260K/stories260K.bin"), model, "", checkpoint.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	tok, err := os.ReadFile(testutil.DataPath(t, "stories260K/tok512.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(model, "tokenizer.bin"), tok, 0o666); err != nil {
		t.Fatal(err)
	}
	calibration, windows := jsonLines(t, dir, "calibration", golden.Calibration), jsonLines(t, dir, "windows", golden.Text)
	for i, c := range golden.Cases {
		t.Run(strings.Join([]string{c.Rule, c.Allocation, c.Criterion, c.Sequence}, " "), func(t *testing.T) {
			n := len(c.Steps)
			o := Options{Model: model, Out: filepath.Join(dir, fmt.Sprint(i)), Device: host(t), Targets: []float64{(c.Steps[n-2].Compression + 2*c.Steps[n-1].Compression) / 3},
				Criterion: c.Criterion, Sequence: c.Sequence, Width: plan.Options{Rule: c.Rule, Allocation: c.Allocation},
				Calibration: calibration, Prompts: len(golden.Calibration), Text: windows, Windows: golden.Windows, Context: golden.Context}
			p := mustRun(t, o)[0]
			if len(p.Steps) != n {
				t.Fatalf("want %d steps, got %d", n, len(p.Steps))
			}
			steps := stepsOf(t, o.Out)
			worst := 0.0
			for i, want := range c.Steps {
				rec, s := steps[i], p.Steps[i]
				if s.Kind != want.Kind || (s.Forced != "") != want.Forced || s.Params != want.Params || !near(s.Compression, want.Compression, 1e-12) || !near(rec.State.Groups, want.Groups, 1e-9) {
					t.Fatalf("step %d: want %s forced %v, %d parameters (%v), groups %v; got %s forced %q, %d (%v), %v",
						i+1, want.Kind, want.Forced, want.Params, want.Compression, want.Groups, s.Kind, s.Forced, s.Params, s.Compression, rec.State.Groups)
				}
				if len(s.Scores) != len(want.Scores) {
					t.Fatalf("step %d: want scores %v, got %v", i+1, want.Scores, s.Scores)
				}
				for kind, x := range want.Scores {
					off := math.Abs(*s.Scores[kind]-x) / x
					if worst = max(worst, off); !(off < 1e-5) {
						t.Errorf("step %d: %s: want %v, got %v", i+1, kind, x, *s.Scores[kind])
					}
				}
				if len(rec.State.Layers) != len(want.Layers) {
					t.Fatalf("step %d: want %d layers, got %d", i+1, len(want.Layers), len(rec.State.Layers))
				}
				for l, w := range want.Layers {
					if g := rec.State.Layers[l]; g.From != w.From || !slices.Equal(g.Heads, w.Heads) || !slices.Equal(g.KVHeads, w.KVHeads) || !slices.Equal(g.Neurons, w.MLP) {
						t.Fatalf("step %d, layer %d: want of layer %d heads %v, kv heads %v, neurons %v; got %+v", i+1, l, w.From, w.Heads, w.KVHeads, w.MLP, g)
					}
				}
			}
			if last := steps[n-1].State.Layers; !reflect.DeepEqual(p.Layers, last) {
				t.Error("plan.json has other layers than the journal's last step")
			}
			t.Logf("%d steps, scores within %.2g of the golden ones", n, worst)
		})
	}
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }

// jsonLines writes texts as a .jsonl file.
func jsonLines(t *testing.T, dir, name string, texts []string) string {
	t.Helper()
	path := filepath.Join(dir, name+".jsonl")
	var out []byte
	for _, s := range texts {
		line, err := json.Marshal(map[string]string{"text": s})
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, line...), '\n')
	}
	if err := os.WriteFile(path, out, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// stepsOf reads the steps of a run's journal.
func stepsOf(t *testing.T, out string) []record {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	var steps []record
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			steps = append(steps, r)
		}
	}
	return steps
}
