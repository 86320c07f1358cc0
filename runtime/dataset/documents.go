// Package dataset reads the texts that models are pruned, fine-tuned and evaluated
// on, and tokenizes them: documents are cut into windows for evaluation,
// calibration files become prompts, and fine-tuning files become examples.
package dataset

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"mop/internal/files"
)

// Documents reads the documents of a text file: the "text" field of each line of a
// .jsonl file; of another file the parts between separators, without surrounding
// white space; or the whole file as it is when the separator is empty.
func Documents(path, separator string) (out []string, err error) {
	err = viewDocuments(path, separator, func(documents [][]byte) error {
		for _, d := range documents {
			out = append(out, string(d))
		}
		return nil
	})
	return out, err
}

// viewDocuments is Documents for files of any size: the documents are views of the
// mapped file, valid until use returns.
func viewDocuments(path, separator string, use func(documents [][]byte) error) error {
	return files.View(path, func(data []byte) error {
		documents, err := splitDocuments(data, path, separator)
		if err != nil {
			return err
		}
		if err := use(documents); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

func splitDocuments(data []byte, path, separator string) ([][]byte, error) {
	var out [][]byte
	switch {
	case filepath.Ext(path) == ".jsonl":
		s := bufio.NewScanner(bytes.NewReader(data))
		s.Buffer(nil, len(data)+1)
		for n := 1; s.Scan(); n++ {
			if len(bytes.TrimSpace(s.Bytes())) == 0 {
				continue
			}
			var row struct{ Text *string }
			if err := json.Unmarshal(s.Bytes(), &row); err != nil || row.Text == nil {
				return nil, fmt.Errorf("%s: line %d: want an object with a string \"text\"", path, n)
			}
			out = append(out, []byte(*row.Text))
		}
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	case separator != "":
		for part := range bytes.SplitSeq(data, []byte(separator)) {
			if part = bytes.TrimSpace(part); len(part) > 0 {
				out = append(out, part)
			}
		}
	default:
		out = [][]byte{data}
	}
	if !slices.ContainsFunc(out, func(d []byte) bool { return len(bytes.TrimSpace(d)) > 0 }) {
		return nil, fmt.Errorf("%s: no text in it", path)
	}
	return out, nil
}
