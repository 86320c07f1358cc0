package zeroshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Record is the answer to one question: one row of the log.
type Record struct {
	Run        string    `json:"run"` // of which run it is: see runKey
	Task       string    `json:"task"`
	Question   int       `json:"question"` // its number in the data file, from 0
	Gold       int       `json:"gold"`
	Sums       []float64 `json:"sums"`       // log-likelihood of each choice, nats
	Tokens     []int     `json:"tokens"`     // of each choice
	Characters []int     `json:"characters"` // of each choice, by which acc_norm divides
	Acc        int       `json:"acc"`        // 1 = the best choice is the gold one
	Norm       *int      `json:"acc_norm,omitempty"`
}

// log is the file of the answers, as they come. The nil log keeps none.
type log struct {
	file *os.File
	done map[string]map[int]Record // by task and question
}

// recordStart is how a row of the log begins, also an incomplete one.
const recordStart = `{"run":"`

// openLog opens a log, or creates it. Without resume the file must not exist. A last line
// that is incomplete, after a kill, is dropped.
func openLog(path string, resume bool) (*log, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case !resume && len(data) > 0:
		return nil, fmt.Errorf("%s: there is a log already: continue it with --resume, or give another name", path)
	}
	l := &log{done: map[string]map[int]Record{}}
	complete := 0
	for n, line := 1, data; ; n++ {
		end := bytes.IndexByte(line, '\n')
		var r Record
		if start := min(len(line), len(recordStart)); string(line[:start]) != recordStart[:start] ||
			end >= 0 && (json.Unmarshal(line[:end], &r) != nil || r.Run == "" || len(r.Sums) == 0) {
			return nil, fmt.Errorf("%s: line %d: want a row of a log of mop eval tasks: give another name", path, n)
		}
		if end < 0 {
			break // the end of the file, or an incomplete line
		}
		if l.done[r.Task] == nil {
			l.done[r.Task] = map[int]Record{}
		}
		l.done[r.Task][r.Question] = r
		complete += end + 1
		line = line[end+1:]
	}
	if l.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
		return nil, err
	}
	if err := l.file.Truncate(int64(complete)); err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	_, err = l.file.Seek(int64(complete), 0)
	return l, err
}

// answered returns the answers that the log has of a task. It refuses those of another run.
func (l *log) answered(task, run string) (map[int]Record, error) {
	if l == nil {
		return nil, nil
	}
	for _, r := range l.done[task] {
		if r.Run != run {
			return nil, fmt.Errorf("%s: it has answers to %s of another model, tokenizer, BOS setting or data file: give another name", l.file.Name(), task)
		}
	}
	return l.done[task], nil
}

func (l *log) write(r Record) error {
	if l == nil {
		return nil
	}
	text, err := json.Marshal(r)
	if err == nil {
		_, err = l.file.Write(append(text, '\n'))
	}
	return err
}

func (l *log) close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
