package main

import (
	"strings"
	"testing"
)

// With a draft the greedy text is the same.
func TestRunDraft(t *testing.T) {
	args := []string{"run", "--model", demoDir, "--prompt", "Once upon a time", "--max-tokens", "60"}
	want, err := mop(t, "", args...)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"0", "3"} {
		if got, err := mop(t, "", append(args, "--draft", demoDir, "--draft-tokens", n)...); err != nil || got != want {
			t.Errorf("want %q, got %q, %v", want, got, err)
		}
	}
	for _, wrong := range []string{"--draft-tokens 2", "--draft " + demoDir + " --draft-tokens 9"} {
		if _, err := mop(t, "", append(args, strings.Fields(wrong)...)...); err == nil || !strings.HasPrefix(err.Error(), errUsage.Error()) {
			t.Errorf("%s: want a usage error, got %v", wrong, err)
		}
	}
}
