package files

import (
	"bytes"
	"errors"
)

// ErrLFSPointer means that a file holds a reference to its contents, because a
// repository was cloned without Git LFS.
var ErrLFSPointer = errors.New("a Git LFS pointer, not the file itself: fetch the file with git lfs pull")

// CheckLFS is ErrLFSPointer if data begin as such a reference.
func CheckLFS(data []byte) error {
	if bytes.HasPrefix(data, []byte("version https://git-lfs.github.com/spec/")) {
		return ErrLFSPointer
	}
	return nil
}
