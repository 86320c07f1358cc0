package demo

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed model text
var files embed.FS

// Separator is the text between the stories of the text files.
const Separator = "<|endoftext|>"

// unpacked reports whether dir holds the file that Unpack writes last.
func unpacked(dir string) bool {
	const last = "text/windows.txt"
	found, err1 := os.ReadFile(filepath.Join(dir, last))
	own, err2 := files.ReadFile(last)
	return err1 == nil && err2 == nil && bytes.Equal(found, own)
}

// Unpack writes the trained model and the texts to dir and returns their paths.
func Unpack(dir string) (model, text string, err error) {
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(dir, path), 0o777)
		}
		data, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), data, 0o666)
	})
	return filepath.Join(dir, "model"), filepath.Join(dir, "text"), err
}

// markFile lies in every directory that a demo has written to.
const markFile = ".mop-demo"

// Clear prepares a directory for a demo: it removes what an earlier demo left, and refuses
// a directory in which anything else has the name of a demo's output.
func Clear(dir string) error {
	_, err := os.Stat(filepath.Join(dir, markFile))
	own := err == nil || unpacked(dir)
	for _, name := range []string{"model", "text", "pruned", "recovered", "report"} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil && !own {
			return fmt.Errorf("%s: exists, and is not the output of a demo: give another --out", path)
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, markFile), nil, 0o666)
}
