package testutil

import (
	"os"
	"path/filepath"
	"testing"
)

// BuiltPath returns the path of something that a target of the Makefile leaves under
// out/, or skips the test where it has not been made.
func BuiltPath(t testing.TB, name, target string) string {
	t.Helper()
	p := filepath.Join(repository(t), "out", name)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("out/%s is absent: make %s", name, target)
	}
	return p
}
