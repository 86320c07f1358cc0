package zeroshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"mop/internal/files"
)

// maxFile bounds a data file, in bytes.
const maxFile = 1 << 30

// Data is a task's questions.
type Data struct {
	Path      string
	Checksum  string // of the file, hex
	Format    string
	Questions []Question
}

// file is a data file as its beginning shows it.
type file struct {
	path, name string   // name: the path below the data folder, lower case, letters and digits only
	keys       []string // of the first row; nil where it is not an object
	log        bool     // a sample log of the harness: the keys are those of "doc"
	head       []byte   // the beginning
}

// Find looks for a task's data in a folder and everything below it, or in one file. The
// content of a file decides what it holds; its path only decides between files of one form. It reads
// up to limit questions; 0 = all.
func Find(root string, t Task, limit int) (Data, error) {
	list, err := listFiles(root)
	if err != nil {
		return Data{}, err
	}
	for _, f := range t.Formats {
		var found []file
		for _, c := range list {
			if f.holds(c) {
				found = append(found, c)
			}
		}
		if len(found) > 1 {
			found = ofSplit(found, t.Split)
		}
		if len(found) > 1 {
			var paths []string
			for _, c := range found {
				paths = append(paths, c.path)
			}
			return Data{}, fmt.Errorf("%s: %s: want one file of %s, got %s: give a folder that has only one of them", root, t.Name, f.Name, strings.Join(paths, " and "))
		}
		if len(found) == 1 {
			return f.read(found[0], limit)
		}
	}
	var forms []string
	for _, f := range t.Formats {
		form := f.Name
		if len(f.Keys) > 0 {
			form += " {" + strings.Join(f.Keys, ", ") + "}"
		}
		if f.Hint != "" {
			form += " with " + f.Hint + " in its path"
		}
		forms = append(forms, form)
	}
	return Data{}, fmt.Errorf("%s: %s: want a file of one of these forms, found none: %s", root, t.Name, strings.Join(forms, "; "))
}

// listFiles reads the beginning of every file that may hold data.
func listFiles(root string) ([]file, error) {
	st, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	start := root
	if st.IsDir() {
		start += string(filepath.Separator) // a link to a folder is followed
	}
	var list []file
	err = filepath.WalkDir(start, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || !slices.Contains([]string{".jsonl", ".json", ".txt"}, filepath.Ext(path)) {
			return nil
		}
		f, err := sniff(root, path)
		if err == nil && f.head != nil {
			list = append(list, f)
		}
		return err
	})
	return list, err
}

// sniffBytes is how much of a file is read to tell what it is: the first row must end in it.
const sniffBytes = 1 << 20

func sniff(root, path string) (file, error) {
	f := file{path: path, name: plain(filepath.Base(path))}
	if below, err := filepath.Rel(root, path); err == nil && below != "." {
		f.name = plain(below)
	}
	r, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer r.Close()
	if st, err := r.Stat(); err != nil || !st.Mode().IsRegular() {
		return f, err
	}
	head := make([]byte, sniffBytes)
	n, err := r.Read(head)
	if n == 0 {
		return f, nil
	}
	f.head = plainText(head[:n])
	if err != nil {
		return f, err
	}
	first, _, _ := bytes.Cut(bytes.TrimLeft(f.head, " \t\r\n"), []byte("\n"))
	var row, doc map[string]json.RawMessage
	if json.Unmarshal(first, &row) != nil {
		return f, nil
	}
	if json.Unmarshal(row["doc"], &doc) == nil && row["doc_id"] != nil {
		row, f.log = doc, true
	}
	for key := range row {
		f.keys = append(f.keys, key)
	}
	return f, nil
}

// plainText is a text without a byte order mark, and with lines that end with LF alone.
func plainText(text []byte) []byte {
	return bytes.ReplaceAll(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), []byte("\r\n"), []byte("\n"))
}

// plain keeps the letters and digits of a path, in lower case.
func plain(path string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, path)
}

// holds reports whether a file's rows have this format.
func (f Format) holds(c file) bool {
	if f.Lines > 0 {
		lines := bytes.SplitAfterN(c.head, []byte("\n"), f.Lines+1)
		if len(lines) <= f.Lines || c.keys != nil {
			return false
		}
		_, err := f.Parse(bytes.Join(lines[:f.Lines], nil))
		return err == nil
	}
	for _, key := range f.Keys {
		if !slices.Contains(c.keys, key) {
			return false
		}
	}
	return strings.Contains(c.name, plain(f.Hint))
}

// ofSplit keeps the files that have a word of the split in their name, if there are any.
func ofSplit(list []file, words []string) []file {
	var out []file
	for _, c := range list {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(plain(filepath.Base(c.path)), w) }) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return list
	}
	return out
}

// read reads the questions of a file.
func (f Format) read(c file, limit int) (Data, error) {
	content, err := files.Read(c.path, maxFile)
	if err != nil {
		return Data{}, err
	}
	d := Data{Path: c.path, Checksum: fmt.Sprintf("%x", sha256.Sum256(content)), Format: f.Name}
	if c.log {
		d.Format += ", in a sample log"
	}
	content = plainText(content)
	if !utf8.Valid(content) {
		return d, fmt.Errorf("%s: line %d: want UTF-8 text, got other bytes: write the file as UTF-8", c.path, firstInvalidLine(content))
	}
	rows, err := f.rows(c, content)
	if err != nil {
		return d, err
	}
	var labels []int
	if f.Labels != nil && !c.log {
		if labels, err = f.Labels(c.path); err != nil {
			return d, err
		}
		if len(labels) != len(rows) {
			return d, fmt.Errorf("%s: want a label for each of its %d rows, got %d", c.path, len(rows), len(labels))
		}
	}
	for i, r := range rows {
		if limit > 0 && i == limit {
			break
		}
		q, err := f.Parse(r.text)
		if err == nil && labels != nil {
			q.Gold = labels[i]
			err = q.check()
		}
		if err != nil {
			return d, fmt.Errorf("%s: line %d: %w", c.path, r.line, err)
		}
		d.Questions = append(d.Questions, q)
	}
	if len(d.Questions) == 0 {
		return d, fmt.Errorf("%s: no questions in it", c.path)
	}
	return d, nil
}

// firstInvalidLine is the number of the first line that is not UTF-8, from 1.
func firstInvalidLine(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		if n++; !utf8.Valid(line) {
			break
		}
	}
	return n
}

// row is one row of a file.
type row struct {
	line int // number of its first line, from 1
	text []byte
}

// rows cuts a file into rows; of a sample log it gives the documents.
func (f Format) rows(c file, content []byte) ([]row, error) {
	var out []row
	if f.Lines > 0 {
		lines := bytes.SplitAfter(content, []byte("\n"))
		if last := len(lines) - 1; len(lines[last]) == 0 {
			lines = lines[:last]
		}
		if len(lines)%f.Lines != 0 {
			return nil, fmt.Errorf("%s: want %d lines for each question, got %d lines", c.path, f.Lines, len(lines))
		}
		for i := 0; i < len(lines); i += f.Lines {
			out = append(out, row{i + 1, bytes.Join(lines[i:i+f.Lines], nil)})
		}
		return out, nil
	}
	line := 0
	for text := range bytes.Lines(content) {
		if line++; len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if c.log {
			var r struct{ Doc json.RawMessage }
			if err := json.Unmarshal(text, &r); err != nil || r.Doc == nil {
				return nil, fmt.Errorf("%s: line %d: want a row of a sample log with a \"doc\"", c.path, line)
			}
			text = r.Doc
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(text, &keys); err != nil {
			return nil, fmt.Errorf("%s: line %d: want a JSON object: %w", c.path, line, err)
		}
		for _, key := range f.Keys {
			switch value := keys[key]; {
			case value == nil:
				return nil, fmt.Errorf("%s: line %d: want the keys of the first row, %s, got none named %q", c.path, line, strings.Join(f.Keys, ", "), key)
			case string(value) == "null":
				return nil, fmt.Errorf("%s: line %d: %s: want a value, got null", c.path, line, key)
			}
		}
		out = append(out, row{line, text})
	}
	return out, nil
}

// Load finds the data of all tasks, and reports everything that is missing at once.
func Load(root string, tasks []Task, limit int) ([]Data, error) {
	var all []Data
	var errs []error
	for _, t := range tasks {
		d, err := Find(root, t, limit)
		all, errs = append(all, d), append(errs, err)
	}
	return all, errors.Join(errs...)
}
