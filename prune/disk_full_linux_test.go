package prune

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mop/internal/testutil"
	"mop/runtime/config"
)

// A disk without enough space is refused before a candidate is written. The error says
// what is needed and what is free.
func TestFullDisk(t *testing.T) {
	disk := testutil.SmallDisk(t, "256k")
	o := tinyOptions(t, tinyModel(t, 1, func(c *config.Config) {
		for i := range c.Layers {
			c.Layers[i].Intermediate = 400
		}
	}))
	o.Out = filepath.Join(disk, "out")
	_, err := Run(context.Background(), o)
	testutil.CheckError(t, "too little space", err, "bytes of free disk, got")
	if _, err := os.Stat(filepath.Join(o.Out, journalFile)); err == nil {
		t.Error("a refused run has written a journal")
	}
	// If the disk gets full during the run, the error says so, and the run can be resumed
	// once there is space.
	o.Model = tinyModel(t, 1, nil)
	if err := os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, 150<<10), 0o666); err == nil {
		if _, err := Run(context.Background(), o); err == nil {
			t.Error("want an error for lack of space")
		} else if !strings.Contains(err.Error(), "free disk") && !strings.Contains(err.Error(), "no space left") {
			t.Errorf("want it said that the disk is full, got %v", err)
		}
		os.Remove(filepath.Join(disk, "ballast"))
	}
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	mustRun(t, o)
}
