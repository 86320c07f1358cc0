package finetune

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mop/internal/progress"
	"mop/internal/testutil"
	"mop/runtime/checkpoint"
)

// If the disk is full, the last stored state is complete. With free space the run resumes
// and writes the same bytes as one that always had space.
func TestFullDisk(t *testing.T) {
	disk := testutil.SmallDisk(t, "16m")
	o := fixture(t, 2)
	o.Every, o.Steps = 1, 6
	whole := o
	if _, err := Run(context.Background(), whole); err != nil {
		t.Fatal(err)
	}
	o.Out = filepath.Join(disk, "out")
	ballast := filepath.Join(disk, "ballast")
	o.Progress = func(p progress.Update) {
		if p.Done != 4 {
			return
		}
		var room unix.Statfs_t
		if err := unix.Statfs(disk, &room); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ballast, make([]byte, int64(room.Bavail)*room.Bsize-4096), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Run(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), "the checkpoint of step 3 is complete") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("want the full disk and the whole checkpoint in one line, got %v", err)
	}
	b, err := checkpoint.OpenTensorFile(filepath.Join(o.Out+".training", stateName(3)))
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	o.Progress, o.Resume = nil, true
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	testutil.CheckSameTree(t, "a disk that was full", testutil.ReadTree(t, whole.Out), testutil.ReadTree(t, o.Out), 4)
	if left, err := os.ReadDir(disk); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
