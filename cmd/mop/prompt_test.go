package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestPromptWithSpecialTokens(t *testing.T) {
	if _, err := mop(t, "", "run", "--model", demoDir, "--prompt", "<s>a", "--special", "--max-tokens", "1"); err != nil {
		t.Error(err)
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
