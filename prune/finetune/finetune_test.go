package finetune

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device/cpu"
	"mop/runtime/tokenizer"
)

// The training data is dataset's, which has golden examples of it.
const (
	goldenTokenizer = "../../runtime/dataset/testdata/tokenizer.json"
	goldenData      = "../../runtime/dataset/testdata/data.json"
)

// fixture returns the options of a run on the golden model, with its tokenizer and a device.
func fixture(t *testing.T, threads int) Options {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS("testdata/model")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(goldenTokenizer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o666); err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	o := Defaults()
	o.Model, o.Data, o.Out, o.Device = dir, goldenData, filepath.Join(t.TempDir(), "out"), dev
	o.MaxLength, o.Batch, o.Steps, o.LearningRate, o.Dropout, o.Rank, o.Alpha = 175, 4, 10, 3e-3, 0, 4, 6
	return o
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

// Ten steps agree with a loop in PyTorch and peft, and with the mean over tokens with
// transformers' Trainer. Packing changes only the rounding.
func TestGoldenSteps(t *testing.T) {
	var golden map[string]json.RawMessage
	readJSON(t, "testdata/steps.json", &golden)
	for i, c := range []struct {
		average  string
		warm     int
		packing  bool
		printed  float64 // rounding of the log that the golden numbers come from
		recomute bool
	}{{Examples, 0, false, 0, false}, {Examples, 0, true, 0, true}, {Tokens, 2, false, 0.006, false}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			o := fixture(t, 1+i)
			o.Average, o.WarmUp, o.Packing, o.Recompute, o.NoShuffle = c.average, c.warm, c.packing, c.recomute, true
			o.AdapterInit, o.SaveAdapter, o.Log = "testdata/adapter", filepath.Join(t.TempDir(), "adapter"), filepath.Join(t.TempDir(), "log.jsonl")
			if c.packing {
				o.MaxLength = 175
			}
			if _, err := Run(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			var want []Step
			if err := json.Unmarshal(golden[c.average], &want); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(o.Log)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			if len(lines) != len(want) || len(want) != 10 {
				t.Fatalf("want 10 steps, got %d", len(lines))
			}
			for i, line := range lines {
				var got Step
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Fatal(err)
				}
				if d := math.Abs(got.Loss - want[i].Loss); d > 1e-5*want[i].Loss+c.printed {
					t.Errorf("step %d: loss: want %v, got %v", i+1, want[i].Loss, got.Loss)
				}
				if d := math.Abs(got.GradNorm - want[i].GradNorm); d > 1e-4*want[i].GradNorm+c.printed {
					t.Errorf("step %d: gradient norm: want %v, got %v", i+1, want[i].GradNorm, got.GradNorm)
				}
				if d := math.Abs(got.Rate - want[i].Rate); d > 1e-12+c.printed*1e-4 {
					t.Errorf("step %d: rate: want %v, got %v", i+1, want[i].Rate, got.Rate)
				}
			}
			compareAdapters(t, "testdata/"+c.average+".safetensors", filepath.Join(o.SaveAdapter, adapterFile))
		})
	}
}

// With activations and gradients rounded to bfloat16 in products with the model's weights,
// ten steps agree to that precision, and differ from those without rounding.
func TestRoundedSteps(t *testing.T) {
	run := func(rounded bool, threads int) []Step {
		o := fixture(t, threads)
		o.Rounded, o.NoShuffle, o.Log = rounded, true, filepath.Join(t.TempDir(), "log.jsonl")
		if _, err := Run(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(o.Log)
		if err != nil {
			t.Fatal(err)
		}
		var steps []Step
		for line := range strings.Lines(string(text)) {
			var s Step
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatal(err)
			}
			s.Seconds = 0
			steps = append(steps, s)
		}
		return steps
	}
	plain, rounded := run(false, 1), run(true, 1)
	if !slices.Equal(rounded, run(true, 3)) {
		t.Error("three threads: other numbers than one")
	}
	if slices.Equal(plain, rounded) || len(plain) != 10 || len(rounded) != 10 {
		t.Fatalf("want ten steps each, not the same, got %v and %v", plain, rounded)
	}
	for i, p := range plain {
		r := rounded[i]
		if d, g := math.Abs(p.Loss-r.Loss)/p.Loss, math.Abs(p.GradNorm-r.GradNorm)/p.GradNorm; d > 0x1p-9 || g > 0x1p-6 {
			t.Errorf("step %d: loss %v and %v, gradient norm %v and %v", i+1, p.Loss, r.Loss, p.GradNorm, r.GradNorm)
		}
	}
	t.Logf("loss %v and %v after ten steps", plain[9].Loss, rounded[9].Loss)
}

// compareAdapters compares the tensors of a file with golden ones of the same names. AdamW
// moves an element by up to the learning rate, whatever the size of its gradient, so the
// scale of the comparison is ten such moves.
func compareAdapters(t *testing.T, golden, path string) {
	t.Helper()
	want, err := checkpoint.OpenTensorFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	got, err := checkpoint.OpenTensorFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if !slices.Equal(want.Names(), got.Names()) || len(want.Names()) != 28 {
		t.Fatalf("names: want %v, got %v", want.Names(), got.Names())
	}
	const tolerance = 2e-3 * 3e-3 * 10
	worst := 0.0
	for _, name := range want.Names() {
		w := want.Header(name)
		g, err := got.Tensor(name, w.Shape...)
		if err != nil {
			t.Fatal(err)
		}
		x, y := checkpoint.Float32s(w), checkpoint.Float32s(g)
		for i := range x {
			d := math.Abs(float64(x[i] - y[i]))
			worst = max(worst, d/tolerance)
			if !(d <= tolerance) {
				t.Errorf("%s: element %d: want %v, got %v", name, i, x[i], y[i])
				break
			}
		}
	}
	t.Logf("adapters: at most %.1f %% of the tolerance", 100*worst)
}

// Training on one example lowers its loss.
func TestLearns(t *testing.T) {
	for _, full := range []bool{false, true} {
		o := fixture(t, 2)
		o.Full, o.Steps, o.LearningRate, o.Batch, o.Dropout = full, 40, 1e-2, 1, 0
		o.Data = filepath.Join(t.TempDir(), "one.jsonl")
		if err := os.WriteFile(o.Data, []byte(`{"text": "The red goat found seven eggs under the old shelf."}`+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !(r.LastLoss < 0.3*r.FirstLoss) {
			t.Errorf("full %v: loss %v -> %v", full, r.FirstLoss, r.LastLoss)
		}
	}
}

// adapterOf writes an adapter directory with a config but no weights.
func adapterOf(t *testing.T, rank int, alpha float64) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`{"peft_type": "LORA", "r": %d, "lora_alpha": %v, "target_modules": ["q_proj"]}`, rank, alpha)
	if err := os.WriteFile(filepath.Join(dir, adapterConfig), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// If the last update makes the model worse, which no step's loss shows, there is a warning.
func TestWarnsIfWorse(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	for rate, want := range map[float64]bool{1e30: true, 1e-3: false} {
		log.Reset()
		o := fixture(t, 2)
		o.LearningRate, o.Steps = rate, 1
		if _, err := Run(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(log.String(), "made the model worse"); got != 1 && want || got != 0 && !want {
			t.Errorf("rate %v: want the warning: %v, got %s", rate, want, log.String())
		}
	}
}

// There are warnings for skipped rows, and for a maximal length above the model's context.
func TestWarnsOfLess(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	if err := checkSkipped(&Options{Data: "d"}, []dataset.SkippedRow{{Row: 3, Reason: "empty"}, {Row: 8, Reason: "no output"}}, nil); err != nil || !strings.Contains(log.String(), "row 3: empty; row 8: no output") {
		t.Errorf("got %v, %s", err, log.String())
	}
	for length, want := range map[int]bool{175: false, 100_000: true} {
		log.Reset()
		o := fixture(t, 1)
		o.MaxLength, o.Steps = length, 1
		if _, err := Run(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), `max_length=100000 context=`); got != want {
			t.Errorf("length %d: want the warning: %v, got %s", length, want, log.String())
		}
	}
}

// The end of a text that training teaches is the one of the settings beside the tokenizer,
// else the configuration's.
func TestTaughtEOS(t *testing.T) {
	for _, c := range []struct {
		settings   string
		configured []int
		want       int
	}{
		{``, []int{2}, 2}, {``, []int{4, 2}, 2}, {``, []int{4}, 4}, {``, nil, 2}, {``, []int{9}, 2}, {``, []int{3}, 2},
		{`{"eos_token":"<end>"}`, []int{2}, 4}, {`{"eos_token":"</s>"}`, []int{4}, 2}, {`{"bos_token":"<s>"}`, []int{4}, 4},
	} {
		dir := t.TempDir()
		const text = `{"added_tokens":[{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true},{"id":4,"content":"<end>","special":true}],"model":{"type":"BPE","vocab":{"a":0,"<s>":1,"</s>":2,"b":3,"<end>":4},"merges":[]}}`
		if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if c.settings != "" {
			if err := os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(c.settings), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		tok, err := tokenizer.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := taughtEOS(tok, c.configured); len(got) == 0 || got[0] != c.want {
			t.Errorf("%s, configured %v: want %d first, got %v", c.settings, c.configured, c.want, got)
		}
	}
}
