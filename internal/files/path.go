package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Resolve returns an absolute path without symbolic links. The part of the path that
// does not exist yet keeps its name.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	missing := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		found, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(found, missing), nil
		}
		if !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			if pathErr := (*os.PathError)(nil); !errors.As(err, &pathErr) {
				err = fmt.Errorf("%s: %w", dir, err)
			}
			return "", err
		}
		missing = filepath.Join(filepath.Base(dir), missing)
	}
}

// Inside reports whether path is dir or lies in it, by their names.
func Inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
