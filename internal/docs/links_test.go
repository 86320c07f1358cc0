// Package docs holds tests of the documents.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	// Source files and folders of the repository in backticks, such as `runtime/model/layer.go`.
	path = regexp.MustCompile("`((?:runtime|kernels|prune|bench|cmd|internal|docs|examples)/[A-Za-z0-9_./-]*)`")
)

// Every relative link of a document, and every path of the repository that stands in
// backticks, exists.
func TestLinksExist(t *testing.T) {
	const root = "../.."
	links, paths := 0, 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "out" || d.Name() == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if filepath.Ext(file) != ".md" {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: the link %s leads nowhere", file, m[1])
			}
		}
		for _, m := range path.FindAllStringSubmatch(string(text), -1) {
			if strings.HasPrefix(filepath.Clean(file), filepath.Join(root, "CHANGELOG.md")) {
				continue // names what is no longer there
			}
			paths++
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: %s does not exist", file, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 10 || paths < 10 {
		t.Errorf("only %d links and %d paths were seen", links, paths)
	}
}
