package testutil

import (
	"strings"
	"testing"
)

// CheckError checks that an error is one line that contains all wanted texts.
func CheckError(t testing.TB, what string, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: want an error with %q, got none", what, want)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: want an error with %q, got %q", what, w, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("%s: want one line, got %q", what, err)
	}
}
