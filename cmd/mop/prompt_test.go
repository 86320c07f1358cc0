package main

import "testing"

func TestPromptWithSpecialTokens(t *testing.T) {
	if _, err := mop(t, "", "run", "--model", demoDir, "--prompt", "<s>a", "--special", "--max-tokens", "1"); err != nil {
		t.Error(err)
	}
}
