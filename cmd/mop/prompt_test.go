package main

import "testing"

// The text of special tokens gives these tokens only on request.
func TestPromptWithSpecialTokens(t *testing.T) {
	const text = "<s>a"
	tok, special, err := encodePrompt(demoDir, []byte(text), true)
	if err != nil {
		t.Fatal(err)
	}
	_, plain, err := encodePrompt(demoDir, []byte(text), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(special) < 3 || special[0] != tok.BOS() || special[1] != tok.BOS() || len(plain) <= len(special) || plain[1] == tok.BOS() {
		t.Errorf("want two BOS with special tokens and one without, got %v and %v", special, plain)
	}
	if _, err := mop(t, "", "run", "--model", demoDir, "--prompt", text, "--special", "--max-tokens", "1"); err != nil {
		t.Error(err)
	}
}
