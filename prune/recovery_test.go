package prune

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/prune/finetune"
	"mop/runtime/checkpoint"
)

// recoveryOptions are those of a tiny run that fine-tunes candidates (short > 0), the
// targets' models (final), or both.
func recoveryOptions(t *testing.T, model string, short int, final bool) Options {
	o := tinyOptions(t, model)
	o.Targets, o.Recovery.Recipe = []float64{0.2}, finetune.Defaults()
	o.Recovery.Short, o.Recovery.Final = short, final
	r := &o.Recovery.Recipe
	r.Data, r.Rank, r.Batch, r.Steps, r.LearningRate, r.Dropout = filepath.Join(demoText, "calibration.jsonl"), 4, 2, 3, 1e-2, 0
	return o
}

// Fine-tuning a target's model does not change the pruned one, writes a directory beside
// it, and is not repeated. Fine-tuning candidates changes their scores and leaves no files.
func TestRecovery(t *testing.T) {
	model := tinyModel(t, 3, nil)
	plain, final, short := recoveryOptions(t, model, 0, false), recoveryOptions(t, model, 0, true), recoveryOptions(t, model, 2, false)
	a, b, c := mustRun(t, plain)[0], mustRun(t, final)[0], mustRun(t, short)[0]
	dir := func(o Options) string { return TargetDir(o.Out, 0.2) }
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, name := range []string{"plan.json", "model.safetensors", "config.json"} {
		if read(filepath.Join(dir(plain), name)) != read(filepath.Join(dir(final), name)) {
			t.Errorf("training the target's model changes %s of the pruned one", name)
		}
	}
	if !a.SameLayers(b) {
		t.Error("training the target's model changes the plan")
	}
	out := RecoveredDir(final.Out, 0.2)
	src, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	src.Close()
	weights := read(filepath.Join(out, "model.safetensors"))
	if weights == read(filepath.Join(dir(final), "model.safetensors")) || len(weights) != len(read(filepath.Join(dir(final), "model.safetensors"))) {
		t.Error("the trained model's weights: want the shapes of the pruned one and other numbers")
	}
	if read(filepath.Join(out, "plan.json")) != read(filepath.Join(dir(final), "plan.json")) {
		t.Error("the trained model has not the pruned one's plan")
	}
	if _, err := Run(context.Background(), final); err == nil {
		t.Error("a trained model is written over without --resume")
	}
	final.Resume = true
	mustRun(t, final)
	if read(filepath.Join(out, "model.safetensors")) != weights {
		t.Error("going on with a finished run changes the trained model")
	}

	differ := false
	for i := range min(len(a.Steps), len(c.Steps)) {
		for kind, x := range a.Steps[i].Scores {
			y := c.Steps[i].Scores[kind]
			differ = differ || x != nil && y != nil && *x != *y
		}
	}
	if !differ {
		t.Error("training the candidates changes no score")
	}
	entries, err := os.ReadDir(short.Out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "train") || e.Name() == ".work" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	// The pruned model has the weights of the base, not of a fine-tuned candidate.
	base, err := checkpoint.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	cut, err := checkpoint.Open(dir(short))
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	x, _ := base.Tensor(checkpoint.EmbedName)
	y, _ := cut.Tensor(checkpoint.EmbedName)
	l := c.Layers[0]
	p, _ := base.Tensor(checkpoint.LayerName(l.From, checkpoint.WGate))
	q, _ := cut.Tensor(checkpoint.LayerName(0, checkpoint.WGate))
	row := p.Shape[1] * p.DType.Size()
	for i, j := range l.Neurons {
		if string(p.Data[j*row:(j+1)*row]) != string(q.Data[i*row:(i+1)*row]) {
			t.Fatal("a row of the pruned model is not the base's")
		}
	}
	if string(x.Data) != string(y.Data) {
		t.Error("the embedding of the pruned model is not the base's")
	}
	// A run with other fine-tuning of the candidates does not continue this one.
	short.Resume, short.Recovery.Short = true, 3
	if _, err := Run(context.Background(), short); err == nil || !strings.Contains(err.Error(), "short_recovery") {
		t.Errorf("want a refusal that names the training, got %v", err)
	}
	random := recoveryOptions(t, model, 2, false)
	random.Criterion = "random"
	if _, err := Run(context.Background(), random); err == nil || !strings.Contains(err.Error(), "scores no candidates") {
		t.Errorf("want a refusal, got %v", err)
	}
}

// Training data without a usable row is refused before the first step.
func TestRecoveryDataFirst(t *testing.T) {
	model := tinyModel(t, 3, nil)
	empty := filepath.Join(t.TempDir(), "rows.json")
	if err := os.WriteFile(empty, []byte(`[{"instruction": "x"}]`), 0o666); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{empty: "recovery: " + empty + ": no row to train on", empty + "x": "no such file"} {
		o := recoveryOptions(t, model, 0, true)
		o.Recovery.Recipe.Data = data
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if _, err := os.Stat(filepath.Join(o.Out, "journal.jsonl")); err == nil {
			t.Errorf("%s: steps were taken", data)
		}
	}
}
