package prune

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mop/prune/plan"
)

// journalFile keeps the finished steps of a run in its output directory, a JSON
// line each, after a line that says which run it is. It stays when the run ends,
// so that another target costs only the steps that are new.
const journalFile = "journal.jsonl"

// record is one finished step.
type record struct {
	Step   int                    `json:"step"`
	Kind   plan.Kind              `json:"kind"`
	Forced string                 `json:"forced,omitempty"`
	Scores map[plan.Kind]*float64 `json:"scores,omitempty"`
	State  plan.State             `json:"state"`
}

type journal struct {
	file    *os.File
	records []record
}

type journalHead struct {
	Run string `json:"run"`
}

// openJournal begins a run in dir, or goes on with one: the same run only. A last
// line that a kill has torn is dropped.
func openJournal(dir, run string, resume bool) (*journal, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, journalFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		data = nil
	case err != nil:
		return nil, err
	case !resume:
		return nil, fmt.Errorf("%s: a run has been here: give --resume to go on with it, or another --out", path)
	}
	j := &journal{}
	good := 0
	s := bufio.NewReader(bytes.NewReader(data))
	for n := 0; ; n++ {
		line, err := s.ReadBytes('\n')
		if err != nil {
			break // the rest is torn, or there is none
		}
		if n == 0 {
			var h journalHead
			if json.Unmarshal(line, &h) != nil || h.Run != run {
				return nil, fmt.Errorf("%s: of another run (other model, texts or options): give another --out", path)
			}
		} else {
			var r record
			if err := json.Unmarshal(line, &r); err != nil || r.Step != n {
				return nil, fmt.Errorf("%s: line %d: not step %d", path, n+1, n)
			}
			j.records = append(j.records, r)
		}
		good += len(line)
	}
	if j.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
		return nil, err
	}
	if err := j.file.Truncate(int64(good)); err != nil {
		return nil, err
	}
	if _, err := j.file.Seek(int64(good), 0); err != nil {
		return nil, err
	}
	if good == 0 {
		return j, j.line(journalHead{run})
	}
	return j, nil
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
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(data, '\n')); err != nil {
		return err
	}
	return j.file.Sync()
}

func (j *journal) close() { j.file.Close() }
