package study

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// reportFiles are the names of a report's files, in the order in which they are written.
var reportFiles = []string{"study.json", "study.csv", "report.html", "report.md"}

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
	for i, body := range [][]byte{append(text, '\n'), r.CSV(), html, []byte(r.Markdown())} {
		if err := renameio.WriteFile(filepath.Join(dir, reportFiles[i]), body, 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
