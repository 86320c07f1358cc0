package testutil

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// ReadTree reads every file under a directory: relative path to contents.
func ReadTree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// CheckSameTree checks that two results of ReadTree have the same files, at least least
// of them, with the same contents.
func CheckSameTree(t testing.TB, what string, want, got map[string]string, least int) {
	t.Helper()
	if len(want) != len(got) || len(want) < least {
		t.Errorf("%s: want %d files and at least %d, got %d", what, len(want), least, len(got))
	}
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s: %s differs", what, name)
		}
	}
}
