package search

import (
	"fmt"
	"math"

	"mop/internal/journal"
)

// values is a journal of numbers by their names. Numbers are added one by one, and a search
// that is stopped and resumed reads them instead of computing them again.
type values struct {
	journal *journal.Journal[valueLine]
	values  map[string]float64
}

type valueLine struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// openValues opens the file, or starts it.
func openValues(path string, identity map[string]string) (*values, error) {
	j, err := journal.Open(path, identity, func(_ int, x valueLine) error {
		if x.Name == "" {
			return fmt.Errorf("want a name and a value, got %+v", x)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	v := &values{journal: j, values: map[string]float64{}}
	for _, x := range j.Records {
		v.values[x.Name] = x.Value
	}
	return v, nil
}

// add stores a number. A loss that is not finite is stored as the largest one.
func (v *values) add(name string, x float64) error {
	if x-x != 0 {
		x = math.MaxFloat64
	}
	v.values[name] = x
	return v.journal.Add(valueLine{name, x})
}

func (v *values) close() { v.journal.Close() }
