package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mop/internal/files"
)

// CheckDirectory refuses a directory whose files a report would overwrite although no
// report has written them, and the directories of the models that are measured. A
// directory that does not exist is right.
func CheckDirectory(dir string, models ...string) error {
	where, err := files.Resolve(dir)
	if err != nil {
		return err
	}
	for _, m := range models {
		if model, err := files.Resolve(m); err == nil && isDir(model) && files.Inside(where, model) {
			return fmt.Errorf("report: %s lies in the model's directory %s: give another --report", dir, m)
		}
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("report: want a directory: %w", err)
	}
	former := isReport(dir)
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "config.json" || strings.HasSuffix(name, ".safetensors"):
			return fmt.Errorf("report: %s holds a model (%s): give another --report", dir, name)
		case !former && isReportFile(name):
			return fmt.Errorf("report: %s exists, and no report has written it: give another --report", filepath.Join(dir, name))
		}
	}
	return nil
}

// isReport reports whether WriteDirectory has written a directory.
func isReport(dir string) bool {
	for _, name := range []string{"report.md", "samples.jsonl", "results.csv"} {
		if _, err := files.Check(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "results.json"))
	var rows []map[string]json.RawMessage
	if err != nil || json.Unmarshal(text, &rows) != nil || len(rows) == 0 {
		return false
	}
	return rows[0]["model"] != nil && rows[0]["params"] != nil
}

// isReportFile reports whether WriteDirectory writes or removes a file of a name.
func isReportFile(name string) bool {
	for _, plot := range plotNames {
		if name == plot+".png" || name == plot+".svg" {
			return true
		}
	}
	switch name {
	case "report.md", "results.json", "results.csv", "samples.jsonl", "quality.json":
		return true
	}
	return false
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
