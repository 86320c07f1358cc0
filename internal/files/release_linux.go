package files

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Release tells the kernel that a part of a mapped file is not needed for now, so that it
// does not count as memory of the process any more. Reading it again maps it again. It
// must not be called with memory of Go's heap, which would lose its contents.
func Release(b []byte) {
	if len(b) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	first := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	start := first / page * page
	end := (first + uintptr(len(b)) + page - 1) / page * page
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
}

// Prefetch asks the kernel to read a part of a mapped file from the disk meanwhile.
func Prefetch(b []byte) {
	if len(b) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	first := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	start := first / page * page
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, first+uintptr(len(b))-start, unix.MADV_WILLNEED)
}

// startWriting asks the kernel to begin to write a part of a file to the disk.
func startWriting(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}
