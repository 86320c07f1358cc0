package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A device that cannot time launches is refused before anything is measured.
func TestTraceRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.md")
	_, err := mop(t, "", "bench", demoDir, "--device", "cpu", "--in", "3", "--out", "2", "--runs", "2", "--discard", "1", "--trace", file)
	if err == nil || !strings.Contains(err.Error(), "--trace: want --device cuda, got cpu") {
		t.Errorf("want the device refused, got %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("want no file")
	}
}
