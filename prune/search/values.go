package search

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
)

// values is a file of numbers by their names, one JSON line each, after a line with what
// they depend on. Numbers are added one by one, and a search that is stopped and resumed
// reads them instead of computing them again.
type values struct {
	path   string
	file   *os.File
	values map[string]float64
}

type valueLine struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// openValues opens the file, or starts it. A last line that is incomplete is dropped.
func openValues(path string, identity map[string]string) (*values, error) {
	v := &values{path: path, values: map[string]float64{}}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	complete := 0
	lines := bufio.NewReader(bytes.NewReader(data))
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		if n == 0 {
			err = sameIdentity(line, identity)
		} else {
			var x valueLine
			if err = json.Unmarshal(line, &x); err == nil && (x.Name == "" || math.IsNaN(x.Value)) {
				err = fmt.Errorf("want a name and a value, got %s", bytes.TrimSpace(line))
			}
			v.values[x.Name] = x.Value
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, n+1, err)
		}
		complete += len(line)
	}
	if complete == 0 && len(data) > 0 {
		return nil, fmt.Errorf("%s: want the numbers of a search, got no complete line: remove it or give another --out", path)
	}
	if v.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
		return nil, err
	}
	err = v.file.Truncate(int64(complete))
	if err == nil {
		_, err = v.file.Seek(int64(complete), 0)
	}
	if err == nil && complete == 0 {
		err = v.write(identity)
	}
	if err != nil {
		v.file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

func sameIdentity(line []byte, identity map[string]string) error {
	var other map[string]string
	if err := json.Unmarshal(line, &other); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(identity)) {
		if other[name] != identity[name] {
			return fmt.Errorf("written by another search: its %s is %q, want %q: give another --out", name, other[name], identity[name])
		}
	}
	return nil
}

// add stores a number. A loss that is not finite is stored as the largest one.
func (v *values) add(name string, x float64) error {
	if x-x != 0 {
		x = math.MaxFloat64
	}
	v.values[name] = x
	return v.write(valueLine{name, x})
}

func (v *values) write(x any) error {
	line, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if _, err := v.file.Write(append(line, '\n')); err != nil {
		return err
	}
	return v.file.Sync()
}

func (v *values) close() { v.file.Close() }
