package prune

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mop/prune/plan"
)

// journalFile holds the finished steps of a run in its output directory: a line with the
// identity of the run, and then one line of JSON per step. It is kept when the run ends,
// so that another target costs only new steps. Each line begins with a checksum of itself
// and of all lines before it, so that a changed line is noticed:
//
//	{"sum": first 16 hex digits of sha256(the line before's sum, the line without its own), ...}
const journalFile = "journal.jsonl"

const sumKey = `{"sum":"`

// record is one finished step.
type record struct {
	Step   int                    `json:"step"`
	Kind   plan.Kind              `json:"kind"`
	Forced string                 `json:"forced,omitempty"`
	Scores map[plan.Kind]*float64 `json:"scores,omitempty"`
	State  plan.State             `json:"state"`
}

// journal is the open journal of a run.
type journal struct {
	path    string
	file    *os.File
	sum     string // checksum of the last line
	records []record
}

// openJournal creates the journal of a run in dir, or opens it if it belongs to a run of
// the same identity. A last line that is incomplete, after a kill, is dropped.
func openJournal(dir string, identity map[string]string) (*journal, error) {
	j := &journal{path: filepath.Join(dir, journalFile)}
	data, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	complete := 0 // bytes of the complete lines
	lines := bufio.NewReader(bytes.NewReader(data))
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		if start := min(len(line), len(sumKey)); string(line[:start]) != sumKey[:start] {
			return nil, fmt.Errorf("%s: line %d: want %s at its start, got %q: not a journal of mop", j.path, n+1, sumKey, line[:start])
		}
		if err != nil {
			break // the end, or an incomplete line
		}
		sum, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n")[len(sumKey):], `",`)
		text := []byte("{" + rest)
		if j.sum = chain(j.sum, text); sum != j.sum {
			return nil, fmt.Errorf("%s: line %d: its checksum does not match: it was changed after it was written", j.path, n+1)
		}
		if n == 0 {
			err = checkIdentity(text, identity)
		} else {
			var r record
			if err = json.Unmarshal(text, &r); err == nil && r.Step != n {
				err = fmt.Errorf("want step %d, got %d", n, r.Step)
			}
			j.records = append(j.records, r)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", j.path, n+1, err)
		}
		complete += len(line)
	}
	if j.file, err = os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
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
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	return j, nil
}

// chain returns the checksum at the start of a line. before is that of the line before it.
func chain(before string, text []byte) string {
	sum := sha256.Sum256(append([]byte(before), text...))
	return hex.EncodeToString(sum[:8])
}

// checkIdentity refuses a journal whose run has another identity, and names a difference.
func checkIdentity(text []byte, identity map[string]string) error {
	var other map[string]string
	if err := json.Unmarshal(text, &other); err != nil {
		return err
	}
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

// step returns step n, from 1, if it is in the journal.
func (j *journal) step(n int) (record, bool) {
	if n > len(j.records) {
		return record{}, false
	}
	return j.records[n-1], true
}

// add writes a step to the disk.
func (j *journal) add(r record) error {
	j.records = append(j.records, r)
	return j.write(r)
}

func (j *journal) write(v any) error {
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

func (j *journal) close() { j.file.Close() }
