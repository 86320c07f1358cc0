package finetune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/progress"
	"mop/internal/testutil"
	"mop/runtime/device/cpu"
)

// interrupted runs until a step is done, so that a state is stored.
func interrupted(t *testing.T, o Options) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = func(u progress.Update) {
		if u.Done == 2 {
			cancel()
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("want an interruption, got %v", err)
	}
}

// changeByte changes a byte near the middle of a file.
func changeByte(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// A stored state that has changed is refused, and so is a run with other options, whose
// first difference is named.
func TestResumeIsChecked(t *testing.T) {
	o := fixture(t, 1)
	o.Every = 1
	interrupted(t, o)
	o.Resume = true
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Batch = 3 }, "--batch was 4 and is 3"},
		{func(o *Options) { o.LearningRate = 1e-4 }, "--lr was 0.003 and is 0.0001"},
		{func(o *Options) { o.Average = Tokens }, `--loss-average was "examples" and is "tokens"`},
		{func(o *Options) { o.NoShuffle = true }, "--no-shuffle"},
		{func(o *Options) { o.Steps = 11 }, "--steps was 10 and is 11"},
		{func(o *Options) { o.Rank = 5 }, "--rank was 4 and is 5"},
		{func(o *Options) { o.AdapterInit = "testdata/adapter" }, "run: "},
	} {
		other := o
		c.change(&other)
		_, err := Run(t.Context(), other)
		testutil.CheckError(t, c.want, err, c.want)
	}
	states, err := filepath.Glob(o.Out + statesSuffix + "/state-*.safetensors")
	if err != nil || len(states) != 1 {
		t.Fatalf("want one state, got %v, %v", states, err)
	}
	changeByte(t, states[0])
	_, err = Run(t.Context(), o)
	testutil.CheckError(t, "a changed state", err, "its checksum does not match")
}

// A finished model whose weights have changed is not taken for the result of the run.
func TestFinishedModelIsChecked(t *testing.T) {
	o := fixture(t, 1)
	o.Steps, o.Every = 1, 1
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	other := o
	other.Seed = 9
	_, err := Run(t.Context(), other)
	testutil.CheckError(t, "another seed", err, "--seed was 0 and is 9")
	path := filepath.Join(o.Out, "model.safetensors")
	changeByte(t, path)
	_, err = Run(t.Context(), o)
	testutil.CheckError(t, "a changed weight", err, "not those that the run has written")
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), o)
	testutil.CheckError(t, "a cut file", err, "is damaged")
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
