package main

import (
	"strings"
	"testing"
)

// Each line of stdin is answered, in the light of those before it.
func TestRunChat(t *testing.T) {
	args := []string{"run", "--model", demoDir, "--chat", "--chat-template", "llama-2", "--max-tokens", "8", "--system", "Be kind."}
	first, err := mop(t, "Tell me a story.\n", args...)
	if err != nil || strings.TrimSpace(first) == "" {
		t.Fatalf("got %q, %v", first, err)
	}
	both, err := mop(t, "Tell me a story.\n\nAnd then?\n", args...)
	if err != nil || !strings.HasPrefix(both, first) || len(both) == len(first) {
		t.Errorf("want %q and more, got %q, %v", first, both, err)
	}
	again, err := mop(t, "Tell me a story.\n/reset\nTell me a story.\n/exit\nnot read\n", args...)
	if err != nil || again != first+first {
		t.Errorf("want the same answer twice, %q, got %q, %v", first+first, again, err)
	}
	// A message that is too long is dropped, and the conversation goes on.
	long, err := mop(t, strings.Repeat("time ", 600)+"\nTell me a story.\n", args...)
	if err != nil || long != first {
		t.Errorf("want %q, got %q, %v", first, long, err)
	}
	if _, err := mop(t, "hi\n", "run", "--model", demoDir, "--chat"); err == nil || !strings.Contains(err.Error(), "--chat-template") {
		t.Errorf("a model without a template: got %v", err)
	}
}
