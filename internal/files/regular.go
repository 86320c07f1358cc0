package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// Check returns the size of a regular file, and an error for anything else. It must be
// called before the file is opened, because opening a pipe waits for its writer. A
// symbolic link counts as its target.
func Check(path string) (bytes int64, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, fmt.Errorf("%s: want a regular file, got %s", path, kind(st.Mode()))
	}
	return st.Size(), nil
}

// Read reads a regular file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	n, err := Check(path)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%s: want at most %d bytes, got %d", path, limit, n)
	}
	return os.ReadFile(path)
}

// ReadText reads a regular file of at most limit bytes of UTF-8 text, without the byte order
// mark that some editors write in front. Text of another encoding that begins with its
// mark is refused by the name of the encoding.
func ReadText(path string, limit int64) ([]byte, error) {
	data, err := Read(path, limit)
	if err != nil {
		return nil, err
	}
	for _, other := range []struct{ mark, name string }{{"\xff\xfe\x00\x00", "UTF-32"}, {"\x00\x00\xfe\xff", "UTF-32"}, {"\xff\xfe", "UTF-16"}, {"\xfe\xff", "UTF-16"}} {
		if bytes.HasPrefix(data, []byte(other.mark)) {
			return nil, fmt.Errorf("%s: want UTF-8 text, got %s", path, other.name)
		}
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}

// View calls use with the contents of a file, which are valid until use returns. A
// regular file is mapped, so that it takes no memory of the process; any other file is
// read.
func View(path string, use func(data []byte) error) (err error) {
	n, err := Check(path)
	if err != nil || n == 0 {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return use(data)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := Map(f, int(n))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Unmap()) }()
	return use(data)
}

// Sum is the sha256 of a regular file, in hex.
func Sum(path string) (string, error) {
	if _, err := Check(path); err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func kind(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeNamedPipe != 0:
		return "a pipe"
	case m&os.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
