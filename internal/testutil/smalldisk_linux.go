package testutil

import (
	"testing"

	"golang.org/x/sys/unix"
)

// SmallDisk mounts a file system in memory of a size such as "16m" until the end of the
// test. It skips the test where that is not allowed.
func SmallDisk(t testing.TB, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
