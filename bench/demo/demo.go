// Package demo carries a small trained model and texts that it was not trained
// on, so that a person can see mop work without anything else at hand. How both
// were made is in train/.
package demo

import (
	"bytes"
	"embed"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed model text
var files embed.FS

// Separator stands between the stories of the text files.
const Separator = "<|endoftext|>"

// Unpacked says whether dir holds what Unpack writes last.
func Unpacked(dir string) bool {
	const last = "text/windows.txt"
	there, err1 := os.ReadFile(filepath.Join(dir, last))
	own, err2 := files.ReadFile(last)
	return err1 == nil && err2 == nil && bytes.Equal(there, own)
}

// Unpack writes model/ and text/ to dir and returns their paths.
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
