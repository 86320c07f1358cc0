// Package journal keeps the finished parts of a long run in a file, so that a run that was
// stopped continues where it was.
//
// The file has a line of JSON with the identity of the run and then one line for each
// record. Each line begins with a checksum of itself and of all lines before it, so that a
// changed line is noticed:
//
//	{"sum": first 16 hex digits of sha256(the line before's sum, the line without its own), ...}
package journal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

const sumKey = `{"sum":"`

// Journal is an open file of records, each a JSON object.
type Journal[T any] struct {
	Records []T // those of the file, in its order

	identity map[string]string // of the file
	file     *os.File
	sum      string // checksum of the last line
}

// Open creates a journal, or opens one that was written with the same identity. An
// incomplete last line, which a kill leaves, is dropped. check returns an error for a
// record that cannot be the i-th, from 0; it may be nil.
func Open[T any](path string, identity map[string]string, check func(i int, record T) error) (*Journal[T], error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	j := &Journal[T]{}
	complete, err := j.read(data, identity, check)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if j.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
		return nil, err
	}
	if err = j.file.Truncate(int64(complete)); err == nil {
		_, err = j.file.Seek(int64(complete), 0)
	}
	if err == nil && complete == 0 {
		err = j.write(identity)
	}
	if err != nil {
		j.file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

// Read returns the records and the identity of a journal that is only to be read.
func Read[T any](path string) (records []T, identity map[string]string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	j := &Journal[T]{}
	if _, err := j.read(data, nil, nil); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return j.Records, j.identity, nil
}

// read parses the lines and returns the number of bytes of the complete ones.
func (j *Journal[T]) read(data []byte, identity map[string]string, check func(int, T) error) (complete int, err error) {
	lines := bufio.NewReader(bytes.NewReader(data))
	for n := 0; ; n++ {
		line, end := lines.ReadBytes('\n')
		if start := min(len(line), len(sumKey)); string(line[:start]) != sumKey[:start] {
			return 0, fmt.Errorf("line %d: want %s at its start, got %q: not a journal of mop", n+1, sumKey, line[:start])
		}
		if end != nil {
			return complete, nil // the end of the file, or an incomplete line
		}
		sum, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n")[len(sumKey):], `",`)
		text := []byte("{" + rest)
		if j.sum = chain(j.sum, text); sum != j.sum {
			return 0, fmt.Errorf("line %d: its checksum does not match: it was changed after it was written", n+1)
		}
		if n == 0 {
			err = j.checkIdentity(text, identity)
		} else {
			var r T
			if err = json.Unmarshal(text, &r); err == nil && check != nil {
				err = check(n-1, r)
			}
			j.Records = append(j.Records, r)
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", n+1, err)
		}
		complete += len(line)
	}
}

// chain returns the checksum at the start of a line. before is that of the line before it.
func chain(before string, text []byte) string {
	sum := sha256.Sum256(append([]byte(before), text...))
	return hex.EncodeToString(sum[:8])
}

// checkIdentity refuses a journal whose run has another identity, and names a difference.
// With no identity, any is accepted.
func (j *Journal[T]) checkIdentity(text []byte, identity map[string]string) error {
	if err := json.Unmarshal(text, &j.identity); err != nil {
		return err
	}
	if identity == nil {
		return nil
	}
	other := j.identity
	for _, name := range slices.Sorted(maps.Keys(identity)) {
		if other[name] != identity[name] {
			return fmt.Errorf("written by another run: its %s is %q, want %q: give another --out", name, other[name], identity[name])
		}
	}
	if len(other) != len(identity) {
		return errors.New("written by another run, which has more settings: give another --out")
	}
	return nil
}

// Add appends a record and writes it to the disk.
func (j *Journal[T]) Add(record T) error {
	j.Records = append(j.Records, record)
	return j.write(record)
}

func (j *Journal[T]) write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	j.sum = chain(j.sum, text)
	if _, err := fmt.Fprintf(j.file, "%s%s\",%s\n", sumKey, j.sum, text[1:]); err != nil {
		return err
	}
	return j.file.Sync()
}

// Close closes the file. The records stay readable.
func (j *Journal[T]) Close() { j.file.Close() }
