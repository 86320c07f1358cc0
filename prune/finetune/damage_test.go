package finetune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mop/internal/progress"
	"mop/internal/testutil"
	"mop/runtime/tokenizer"
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

// No output lies in the directory of the model.
func TestOutputInTheModel(t *testing.T) {
	o := fixture(t, 1)
	for want, change := range map[string]func(*Options){
		"give another --out":          func(o *Options) { o.Out = filepath.Join(o.Model, "out") },
		"give another --save-adapter": func(o *Options) { o.SaveAdapter = filepath.Join(o.Model, "adapter") },
		"give another --log":          func(o *Options) { o.Log = filepath.Join(o.Model, "log.jsonl") },
	} {
		x := o
		change(&x)
		_, err := Run(t.Context(), x)
		testutil.CheckError(t, want, err, "lies in the model's directory", want)
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
