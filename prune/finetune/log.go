package finetune

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// stepLog is a file of JSON lines, one a step.
type stepLog struct{ file *os.File }

// logStart is how every log begins.
const logStart = `{"step":`

// checkLog refuses a file that is there and no log: a log would take its place.
func checkLog(path string) error {
	info, err := os.Stat(path)
	if path == "" || err != nil || !info.Mode().IsRegular() {
		return nil // openLog will tell
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(logStart))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	// One that was cut off in its first line is a log too.
	if string(head[:n]) != logStart[:n] {
		return fmt.Errorf("log: %s is there and no log of steps: give another --log", path)
	}
	return nil
}

// openLog begins a log, or goes on with one behind the row of the given step.
func openLog(path string, done int) (*stepLog, error) {
	if path == "" {
		return nil, nil
	}
	keep := int64(0)
	if done > 0 {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		s := bufio.NewReader(bytes.NewReader(data))
		for {
			line, err := s.ReadBytes('\n')
			var r Step
			if err != nil || json.Unmarshal(line, &r) != nil || r.Step > done {
				break
			}
			keep += int64(len(line))
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(keep); err != nil {
		return nil, errors.Join(fmt.Errorf("log: %w", err), f.Close())
	}
	if _, err := f.Seek(keep, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("log: %w", err), f.Close())
	}
	return &stepLog{f}, nil
}

func (l *stepLog) add(r Step) error {
	if l == nil {
		return nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(text, '\n'))
	return err
}

func (l *stepLog) close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
