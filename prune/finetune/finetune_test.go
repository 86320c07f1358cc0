package finetune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/progress"
	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
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

// A run that is stopped at any step and resumed writes the same bytes as one that is not
// stopped, at any number of threads, with dropout and shuffling.
func TestResume(t *testing.T) {
	whole := fixture(t, 1)
	whole.Dropout, whole.Seed, whole.Every, whole.Steps = 0.1, 7, 3, 8
	if _, err := Run(context.Background(), whole); err != nil {
		t.Fatal(err)
	}
	want := testutil.ReadTree(t, whole.Out)
	stops := []int{1, 2, 3, 4, 5, 6, 7, 8}
	if testing.Short() {
		stops = []int{2, 4, 7}
	}
	for _, stop := range stops {
		o := whole
		o.Out, o.Log = filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "log.jsonl")
		dev, err := cpu.New(1 + stop%3)
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		o.Device = dev
		// The panic ends the run without any cleaning up, as a kill does.
		killed := errors.New("killed")
		seen := 0
		func() {
			defer func() {
				if r := recover(); r != killed {
					t.Fatal("the run was not stopped:", r)
				}
			}()
			o.Progress = func(p progress.Update) {
				if seen = p.Done; p.Done == stop {
					panic(killed)
				}
			}
			_, err := Run(context.Background(), o)
			t.Fatal("want it stopped, got", err)
		}()
		o.Progress = nil
		if stop > whole.Every { // a state was stored
			if _, err := Run(context.Background(), o); err == nil {
				t.Fatal("without --resume an interrupted run is overwritten")
			}
		}
		o.Resume = true
		if _, err := Run(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		testutil.CheckSameTree(t, fmt.Sprintf("stopped at step %d", seen), want, testutil.ReadTree(t, o.Out), 4)
		text, err := os.ReadFile(o.Log)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var s Step
			if err := json.Unmarshal([]byte(line), &s); err != nil || s.Step != i+1 {
				t.Errorf("log, line %d: %q", i+1, line)
			}
		}
		if n := bytes.Count(text, []byte("\n")); n != 8 {
			t.Errorf("log: want 8 rows, got %d", n)
		}
		if _, err := Run(context.Background(), o); err != nil { // finished already
			t.Fatal(err)
		}
	}
	other := whole
	other.Seed = 8
	other.Out = filepath.Join(t.TempDir(), "out")
	if _, err := Run(context.Background(), other); err != nil {
		t.Fatal(err)
	}
	if want["model.safetensors"] == testutil.ReadTree(t, other.Out)["model.safetensors"] {
		t.Error("another seed gives the same model")
	}
}

// A resumed run cuts its passes as before it was stopped, whatever the device would take now:
// another cut gives adapters with other bytes.
func TestResumeKeepsPasses(t *testing.T) {
	whole := fixture(t, 1)
	whole.PassTokens, whole.Every, whole.Steps = 400, 1, 6
	run := func(ctx context.Context, o Options) (map[string]string, error) {
		o.Out, o.SaveAdapter = whole.Out+".out", whole.Out+".adapter"
		r, err := Run(ctx, o)
		if err != nil {
			return nil, err
		}
		if r.PassTokens != 400 && !(o.PassTokens == 1 && !o.Resume) {
			t.Errorf("want passes of 400 tokens in the result, got %d", r.PassTokens)
		}
		files := testutil.ReadTree(t, o.SaveAdapter)
		for _, dir := range []string{o.Out, o.SaveAdapter} {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		return files, nil
	}
	want, err := run(context.Background(), whole)
	if err != nil {
		t.Fatal(err)
	}
	other := whole
	other.PassTokens = 1
	if got, err := run(context.Background(), other); err != nil || got[adapterFile] == want[adapterFile] {
		t.Errorf("want another adapter with one example in a pass, got the same, %v", err)
	}
	stopped := whole
	ctx, stop := context.WithCancel(context.Background())
	stopped.Progress = func(p progress.Update) {
		if p.Done == 2 {
			stop()
		}
	}
	if _, err := run(ctx, stopped); !errors.Is(err, context.Canceled) {
		t.Fatal("want it stopped, got", err)
	}
	other.Resume = true
	got, err := run(context.Background(), other)
	if err != nil {
		t.Fatal(err)
	}
	testutil.CheckSameTree(t, "resumed with other passes", want, got, 2)
}

// A cancelled run stores its state.
func TestCancelStoresState(t *testing.T) {
	o := fixture(t, 2)
	o.Every = 100
	ctx, cancel := context.WithCancel(context.Background())
	o.Progress = func(p progress.Update) {
		if p.Done == 4 {
			cancel()
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("want it cancelled, got %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.Out+".training", stateName(4))); err != nil {
		t.Error(err)
	}
}

// If training changes nothing, the merged model equals the base. Full training writes the
// types of the checkpoint.
func TestMerge(t *testing.T) {
	o := fixture(t, 2)
	o.Steps, o.LearningRate = 1, 1e-30
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	equal := func(dir string) (same, all int) {
		m, err := checkpoint.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		for _, info := range checkpoint.ExpectedTensors(base.Config()) {
			a, _ := base.Tensor(info.Name)
			b, _ := m.Tensor(info.Name)
			if all++; bytes.Equal(a.Data, b.Data) && a.DType == b.DType {
				same++
			}
		}
		return same, all
	}
	if same, all := equal(o.Out); same != all {
		t.Errorf("an adapter of nothing changes %d of %d tensors", all-same, all)
	}
	o = fixture(t, 2)
	o.Full, o.Steps = true, 3
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if same, _ := equal(o.Out); same != 0 {
		t.Errorf("full training left %d tensors as they were", same)
	}
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

// Errors are one line, and nothing is left at OUT.
func TestBadInput(t *testing.T) {
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		change func(o *Options)
		want   string
	}{
		{func(o *Options) { o.Data = write("a.json", "{}") }, "no row to train on, 1 skipped: row 1: an empty object"},
		{func(o *Options) { o.Data = write("a.json", "[]") }, "no row to train on"},
		{func(o *Options) { o.Data = write("a.json", `[7, {"instruction": "x"}]`) }, "no row to train on, 2 skipped"},
		{func(o *Options) { o.Data = write("a.jsonl", "{\n") }, "no row to train on, 1 skipped"},
		{func(o *Options) { o.Data = write("a.txt", " \n") }, "no row to train on"},
		{func(o *Options) { o.Strict = true }, "data.json: row 4: no output (4 such rows)"},
		{func(o *Options) { o.LearningRate = 1e30; o.MaxGradNorm = 0; o.Every = 1; o.Steps = 5 }, "not finite"},
		{func(o *Options) { o.AdapterInit = t.TempDir() }, "adapter_config.json"},
		{func(o *Options) { o.Average = "rows" }, "loss-average"},
		{func(o *Options) { o.Data = write("a.json", `[{"instruction": "x"}]`) }, "1 skipped: row 1: no output"},
		{func(o *Options) { o.SaveAdapter = o.Out }, "apart from the model's"},
		{func(o *Options) { o.SaveAdapter = filepath.Join(o.Out, "adapter") }, "apart from the model's"},
		{func(o *Options) { o.SaveAdapter, o.Out = o.Out, filepath.Join(o.Out, "model") }, "apart from the model's"},
		{func(o *Options) { o.Log = o.Out }, "apart from the model's"},
		{func(o *Options) { o.Batch = math.MaxInt }, "batch: want 1 to 2147483648"},
		{func(o *Options) { o.Epochs, o.Steps = math.MaxInt, 0 }, "epochs: want 1 to 2147483648"},
		{func(o *Options) { o.Rank = 1 << 17 }, "rank: want 1 to 65536, got 131072"},
		{func(o *Options) { o.MaxGradNorm = math.Inf(1) }, "clip: want a number of at least 0"},
		{func(o *Options) { o.Eps = math.Inf(1) }, "eps: want a number above 0"},
		{func(o *Options) { o.AdapterInit = adapterOf(t, math.MaxInt, 10) }, "adapter_config.json: rank: want 1 to 65536"},
		{func(o *Options) { o.AdapterInit = adapterOf(t, 0, 10) }, "adapter_config.json: rank: want 1"},
		{func(o *Options) { o.LearningRate, o.Every = 1e300, 0 }, "after training: not finite"},
		{func(o *Options) { o.LearningRate, o.Every = 1e300, 1 }, "not finite after training"},
		{func(o *Options) { o.LearningRate, o.Every, o.Full = 1e300, 0, true }, "after training: not finite"},
		{func(o *Options) { o.Out = o.Model }, "lies in the model's directory"},
		{func(o *Options) { o.Targets = nil }, "nothing to train"},
	} {
		o := fixture(t, 1)
		o.Steps = 1
		c.change(&o)
		_, err := Run(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one line with %q, got %v", c.want, err)
		}
		if _, err := os.Stat(o.Out); err == nil && o.Out != o.Model {
			t.Errorf("%s: something stands at OUT", c.want)
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

// A log overwrites another log, even one whose first line is incomplete, but no other file.
func TestLogOverwritesOnlyLogs(t *testing.T) {
	for text, ok := range map[string]bool{"": true, `{"st`: true, `{"step":1}` + "\n": true, `{"instruction": "x"}`: false, "{": true, "x": false} {
		o := fixture(t, 1)
		o.Steps, o.Log = 1, filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(o.Log, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Run(context.Background(), o)
		after, _ := os.ReadFile(o.Log)
		switch {
		case ok && (err != nil || !strings.HasPrefix(string(after), logStart)):
			t.Errorf("%q: want a log in its place, got %q, %v", text, after, err)
		case !ok && (err == nil || !strings.Contains(err.Error(), "give another --log") || string(after) != text):
			t.Errorf("%q: want a refusal and the file as it was, got %q, %v", text, after, err)
		}
	}
}

// The error of a loss that is not finite names the step, the rows and the last stored state.
func TestNotFinite(t *testing.T) {
	o := fixture(t, 2)
	o.LearningRate, o.MaxGradNorm, o.Every, o.NoShuffle, o.Steps = 1e30, 0, 1, true, 5
	_, err := Run(context.Background(), o)
	want := "step 2: not finite"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "rows [6 7 8 10] of "+goldenData) || !strings.Contains(err.Error(), "the checkpoint of step 1 is complete") {
		t.Errorf("want %q with its rows, got %v", want, err)
	}
	if b, err := checkpoint.OpenTensorFile(filepath.Join(o.Out+".training", stateName(1))); err != nil {
		t.Error(err)
	} else {
		b.Close()
	}
}

// A run that has stored no state leaves no directory that other runs would refuse. Files
// that are not of a run are not changed.
func TestNoStateStored(t *testing.T) {
	o := fixture(t, 2)
	o.LearningRate, o.MaxGradNorm, o.Every, o.Steps = 1e39, 0, 1, 2
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "not finite after training") {
		t.Fatalf("want no first state, got %v", err)
	}
	training := o.Out + ".training"
	if exists(training) {
		t.Error("a run that has stored nothing has left its directory")
	}
	if err := os.MkdirAll(training, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(training, identityFile), []byte(`{"run":"one that was killed before its first state"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	o.LearningRate, o.Steps = 1e-3, 1
	if _, err := Run(context.Background(), o); err != nil {
		t.Error(err)
	}
	o.Out = filepath.Join(t.TempDir(), "out")
	note := filepath.Join(o.Out+".training", "note")
	if err := errors.Join(os.Mkdir(filepath.Dir(note), 0o777), os.WriteFile(note, nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "give another --out") || !exists(note) {
		t.Errorf("want a person's directory left alone, got %v", err)
	}
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

// Two runs cannot use one directory at a time.
func TestOneAtATime(t *testing.T) {
	o := fixture(t, 1)
	o.Steps, o.Resume = 2, true
	var second error
	o.Progress = func(p progress.Update) {
		if p.Done == 1 {
			other := o
			other.Progress = nil
			_, second = Run(context.Background(), other)
		}
	}
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if second == nil || !strings.Contains(second.Error(), "another run is using it") {
		t.Errorf("want the second run refused, got %v", second)
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

// An empty directory at OUT is used, as by a prune. One with files is refused and not
// changed.
func TestEmptyOut(t *testing.T) {
	o := fixture(t, 1)
	o.Steps = 1
	if err := os.Mkdir(o.Out, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(o.Out, resultFile)) {
		t.Error("no model in the directory that was empty")
	}
	o.Out = t.TempDir()
	note := filepath.Join(o.Out, "note")
	if err := os.WriteFile(note, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "give another --out") || !exists(note) {
		t.Errorf("a directory with a file: want it refused, got %v", err)
	}
}

// Wrong options are an OptionsError, for which no device is opened. Any other failure is
// not one.
func TestOptionsError(t *testing.T) {
	failed := errors.New("no device")
	opened := 0
	o := fixture(t, 1)
	o.Device, o.OpenDevice = nil, func() (device.Device, error) {
		opened++
		return nil, failed
	}
	o.Rank = 0
	if _, err := Run(context.Background(), o); !errors.As(err, &OptionsError{}) || opened != 0 {
		t.Errorf("rank 0: want an OptionsError and no device opened, got %v and %d opened", err, opened)
	}
	o.Rank = 1
	if _, err := Run(context.Background(), o); !errors.Is(err, failed) || errors.As(err, &OptionsError{}) || opened != 1 {
		t.Errorf("want %v, got %v and %d opened", failed, err, opened)
	}
	o.OpenDevice = nil
	if _, err := Run(context.Background(), o); !errors.As(err, &OptionsError{}) {
		t.Errorf("no device: want an OptionsError, got %v", err)
	}
}
