package testutil

import (
	"os"
	"path/filepath"
	"testing"
)

// DataPath returns the file's path, or skips the test where it is absent.
func DataPath(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("MOP_TEST_DATA")
	if root == "" {
		root = filepath.Join(repository(t), "..", "shared", "data")
	}
	p := filepath.Join(root, name)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("test data absent: %s (set MOP_TEST_DATA)", name)
	}
	return p
}

// repository is the folder that holds go.mod.
func repository(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = filepath.Dir(dir)
	}
}
