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

// journalFile keeps the finished steps of a run in its output directory, a JSON
// line each, after a line that says which run it is. It stays when the run ends,
// so that another target costs only the steps that are new. Each line has the
// sum of itself and all before it in front, so that one that was changed is
// known:
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

type journal struct {
	path    string
	file    *os.File
	sum     string // of the last line
	records []record
}

// openJournal begins a run in dir, or goes on with one: the same run only. A last
// line that a kill has torn is dropped.
func openJournal(dir string, run map[string]string) (*journal, error) {
	j := &journal{path: filepath.Join(dir, journalFile)}
	data, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	good := 0
	s := bufio.NewReader(bytes.NewReader(data))
	for n := 0; ; n++ {
		line, err := s.ReadBytes('\n')
		if head := min(len(line), len(sumKey)); string(line[:head]) != sumKey[:head] {
			return nil, fmt.Errorf("%s: line %d: want %s in front, got %q: not a journal of mop's", j.path, n+1, sumKey, line[:head])
		}
		if err != nil {
			break // the rest is torn, or there is none
		}
		sum, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n")[len(sumKey):], `",`)
		text := []byte("{" + rest)
		if j.sum = chain(j.sum, text); sum != j.sum {
			return nil, fmt.Errorf("%s: line %d: its sum is not that of its text: changed since it was written", j.path, n+1)
		}
		if n == 0 {
			err = sameRun(text, run)
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
		good += len(line)
	}
	if j.file, err = os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
		return nil, err
	}
	if err = j.file.Truncate(int64(good)); err == nil {
		_, err = j.file.Seek(int64(good), 0)
	}
	if err == nil && good == 0 {
		err = j.line(run)
	}
	if err != nil {
		j.file.Close()
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	return j, nil
}

// chain is the sum in front of a line.
func chain(before string, text []byte) string {
	sum := sha256.Sum256(append([]byte(before), text...))
	return hex.EncodeToString(sum[:8])
}

// sameRun says in what a journal's run differs from this one.
func sameRun(text []byte, run map[string]string) error {
	var other map[string]string
	if err := json.Unmarshal(text, &other); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(run)) {
		if other[name] != run[name] {
			return fmt.Errorf("another run, its %s is %q, this one's %q: give another --out", name, other[name], run[name])
		}
	}
	if len(other) != len(run) {
		return errors.New("another run, of more settings than this one has: give another --out")
	}
	return nil
}

func (j *journal) step(n int) (record, bool) {
	if n > len(j.records) {
		return record{}, false
	}
	return j.records[n-1], true
}

// add puts a step on disk.
func (j *journal) add(r record) error {
	j.records = append(j.records, r)
	return j.line(r)
}

func (j *journal) line(v any) error {
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
