package study

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// writeReport writes the report into a study's directory. Each file is either complete or
// the former one; report.md, which refers to the others, comes last.
func writeReport(dir string, r *Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	html, err := r.HTML()
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, f := range []struct {
		name string
		body []byte
	}{{"study.json", append(text, '\n')}, {"study.csv", r.CSV()}, {"report.html", html}, {"report.md", []byte(r.Markdown())}} {
		if err := renameio.WriteFile(filepath.Join(dir, f.name), f.body, 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
