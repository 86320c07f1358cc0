package study

import (
	"encoding/json"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// writeReport writes the report into a study's directory. Each file is either complete or
// the former one.
func writeReport(dir string, r *Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, "study.json"), append(text, '\n'), 0o644)
}
