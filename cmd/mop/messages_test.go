package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mop/internal/progress"
)

// Errors say what is wanted.
func TestErrorsSayWhatIsWanted(t *testing.T) {
	dir := t.TempDir()
	weights := filepath.Join(dir, "model.bin")
	// llama2.c, version 0: hidden size 2, one neuron, layer and head, 1025 tokens, 4 positions.
	var model bytes.Buffer
	binary.Write(&model, binary.LittleEndian, []int32{2, 1, 1, 1, 1, 1025, 4})
	model.Write(make([]byte, 4*(2*1025+2+4*4+2+3*2+2+2*4)))
	if err := os.WriteFile(weights, model.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, says string }{
		{"import foo", `import: want a format, llama2c or gguf, got "foo"`},
		{"eval foo", `eval: want ppl or kl or tasks or vqa, got "foo"`},
		{"eval", "eval: want ppl or kl or tasks or vqa, got nothing"},
		{"bench " + demoDir + " --dtype f16", "--dtype is of random weights"},
		{"prune --model " + demoDir + " --out main.go/b --criterion random", "main.go"},
		{"recover --model " + demoDir + " --data main.go --out main.go/b", "main.go"},
		{"import llama2c --weights " + weights + " --tokenizer " + demoDir + "/tokenizer.json --out " + dir + "/out", "want 1025 tokens"},
	} {
		if _, err := mop(t, "", strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("mop %s: want %q, got %v", c.args, c.says, err)
		}
	}
	if text, err := mop(t, "", "run", "--help"); err != nil || !strings.Contains(text, "(default 0)") {
		t.Errorf("want the default seed, got %s, %v", text, err)
	}
}

// A prompt from a file or from stdin gives the same text as one of the command line, and
// --stats does not change stdout.
func TestPromptFile(t *testing.T) {
	path := program(t)
	common := []string{"run", "--model", demoDir, "--max-tokens", "9", "--ignore-eos"}
	want, _, _ := call(t, path, "", append(common, "--prompt", "One day,\nTom")...)
	if want == "" {
		t.Fatal("no text")
	}
	file := filepath.Join(t.TempDir(), "prompt.txt")
	if err := os.WriteFile(file, []byte("One day,\nTom\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`^prompt: \d+ tokens, [\d.]+ tokens/s\ngenerated: 9 tokens, [\d.]+ tokens/s\n$`)
	for _, c := range []struct{ stdin, file string }{{"", file}, {"One day,\nTom\r\n", "-"}, {"One day,\nTom", "-"}} {
		out, errs, status := call(t, path, c.stdin, append(common, "--prompt-file", c.file, "--stats")...)
		if out != want || status != 0 || !pattern.MatchString(errs) {
			t.Errorf("%q %s: want %q, got %q, status %d, stderr %q", c.stdin, c.file, want, out, status, errs)
		}
	}
	if _, errs, _ := call(t, path, "", append(common, "--max-tokens", "0", "--prompt", "Tom", "--stats")...); !regexp.MustCompile(`^prompt: \d+ tokens; generated: none\n$`).MatchString(errs) {
		t.Errorf("nothing generated: stderr %q", errs)
	}
}

// Without a terminal, progress is a line now and then, and none where all is soon done.
func TestProgressLines(t *testing.T) {
	var out strings.Builder
	b := newBars(&out)
	now := time.Now()
	b.now = func() time.Time { return now }
	tick := progress.Func(b.show).Counter(0, "tokens", 5)
	for range 5 {
		tick()
		now = now.Add(quietFor * 2 / 3)
	}
	if want := "tokens: 3 of 5\n"; out.String() != want {
		t.Errorf("want %q, got %q", want, out.String())
	}
}

// An interrupted command says how to continue.
func TestInterrupted(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	c := exec.Command(program(t), "recover", "--model", demoDir, "--data", "../../bench/demo/text/recovery.txt", "--out", out, "--device", "cpu", "--epochs", "1000")
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
	defer late.Stop()
	for {
		if _, err := os.Stat(out + ".training"); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Skip(err)
	}
	err := c.Wait()
	if want := "mop: interrupted: the same command with --resume continues\n"; c.ProcessState.ExitCode() != 1 || !strings.HasSuffix(errs.String(), want) {
		t.Errorf("want status 1 and %q, got %v and %q", want, err, errs.String())
	}
}
