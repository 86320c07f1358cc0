package sweep

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// A sweep keeps its visits beside the table, in FILE.visits.jsonl: a line with what
// identifies the sweep, and then one line for each visit. A sweep that was stopped goes
// on where it was, and a later sweep of another quantity adds to the same table.

// visitsFile is the journal of a table.
func visitsFile(table string) string { return table + ".visits.jsonl" }

// journal is the open file of visits.
type journal struct {
	path   string
	file   *os.File
	visits []*visit
}

// openJournal opens the journal of a table, or starts it. It refuses one of another
// model or machine. A last line that is incomplete, after a kill, is dropped.
func openJournal(table string, identity map[string]string) (*journal, error) {
	j := &journal{path: visitsFile(table)}
	data, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	complete := 0
	lines := bufio.NewReader(bytes.NewReader(data))
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // the end, or an incomplete line
		}
		if n == 0 {
			err = checkIdentity(line, identity)
		} else {
			v := &visit{}
			if err = json.Unmarshal(line, v); err == nil && (v.Key == "" || !(v.Prefill > 0)) {
				err = errors.New("want a visit with a key and a time")
			}
			j.visits = append(j.visits, v)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", j.path, n+1, err)
		}
		complete += len(line)
	}
	if complete == 0 && len(data) > 0 {
		return nil, fmt.Errorf("%s: want the visits of a sweep, got no complete line: remove it or give another --out", j.path)
	}
	if complete == 0 {
		if _, err := os.Stat(table); err == nil {
			return nil, fmt.Errorf("%s: exists, but the visits that it was made from do not (%s): give another --out", table, j.path)
		}
	}
	if j.file, err = os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
		return nil, err
	}
	err = j.file.Truncate(int64(complete))
	if err == nil {
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

func checkIdentity(line []byte, identity map[string]string) error {
	var other map[string]string
	if err := json.Unmarshal(line, &other); err != nil {
		return fmt.Errorf("want what identifies a sweep: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(identity)) {
		if other[name] != identity[name] {
			return fmt.Errorf("measured with another %s: %q, now it is %q: give another --out", name, other[name], identity[name])
		}
	}
	return nil
}

// add stores a visit.
func (j *journal) add(v *visit) error {
	j.visits = append(j.visits, v)
	return j.write(v)
}

func (j *journal) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	return j.file.Sync()
}

func (j *journal) close() { j.file.Close() }

// of lists the visits of a task.
func (j *journal) of(key string) (out []*visit) {
	for _, v := range j.visits {
		if v.Key == key {
			out = append(out, v)
		}
	}
	return out
}
