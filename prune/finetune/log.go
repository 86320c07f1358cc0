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

// stepLog is a file with one line of JSON per step.
type stepLog struct{ file *os.File }

// logStart is the beginning of every log.
const logStart = `{"step":`

// checkLog refuses an existing file that is not a log, since it would be overwritten.
func checkLog(path string) error {
	info, err := os.Stat(path)
	if path == "" || err != nil || !info.Mode().IsRegular() {
		return nil // openLog reports errors of the path
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
	// A log whose first line is incomplete is a log too.
	if string(head[:n]) != logStart[:n] {
		return fmt.Errorf("log: %s exists and is not a log of steps: give another --log", path)
	}
	return nil
}

// openLog creates a log, or opens one to continue after the row of step done.
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
