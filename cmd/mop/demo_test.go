package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/bench/demo"
)

// A demo replaces what a demo has left, and nothing else.
func TestDemoTakesNobodysPlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "model", "weights")
	if err := os.Mkdir(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := mop(t, "", "demo", "--out", dir); err == nil || !strings.Contains(err.Error(), "no demo has been here") {
		t.Errorf("want a refusal, got %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error("a person's model is gone")
	}
	dir = t.TempDir()
	for range 2 {
		if _, _, err := demo.Unpack(dir); err != nil {
			t.Fatal(err)
		}
		if err := clearDemo(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "model")); err == nil {
			t.Error("an earlier demo's model stays")
		}
	}
}
