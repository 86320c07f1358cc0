package demo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A demo removes the output of an earlier demo, and nothing else.
func TestClear(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "model", "weights")
	if err := os.Mkdir(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Clear(dir); err == nil || !strings.Contains(err.Error(), "not the output of a demo") {
		t.Errorf("want a refusal, got %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error("somebody's model was removed")
	}
	dir = t.TempDir()
	for range 2 {
		if _, _, err := Unpack(dir); err != nil {
			t.Fatal(err)
		}
		if err := Clear(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "model")); err == nil {
			t.Error("the earlier demo's model was not removed")
		}
	}
}
