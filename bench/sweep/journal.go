package sweep

import (
	"errors"
	"fmt"
	"os"

	"mop/internal/journal"
)

// visitsFile keeps the visits of a sweep beside its table. A sweep that was stopped
// continues where it was, and a later sweep of another quantity adds to the same table.
func visitsFile(table string) string { return table + ".visits.jsonl" }

// visits is the journal of a table.
type visits struct{ *journal.Journal[*visit] }

// openVisits opens the journal of a table, or starts it. It refuses one of another model
// or machine, and a table whose journal is gone.
func openVisits(table string, identity map[string]string) (visits, error) {
	path := visitsFile(table)
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		if _, err := os.Stat(table); err == nil {
			return visits{}, fmt.Errorf("%s: exists, but the visits that it was made from do not (%s): give another --out", table, path)
		}
	}
	j, err := journal.Open(path, identity, func(_ int, v *visit) error {
		if v.Key == "" || v.Setting.Batch < 1 || !(v.Prefill > 0) || !(v.Beside.Prefill > 0) || !(v.Beside.Decode > 0) {
			return errors.New("want a visit with a key, a setting, a time and those of the base beside it, got one of another version of mop: give another --out")
		}
		return nil
	})
	return visits{j}, err
}

// of lists the visits of a task.
func (j visits) of(key string) (out []*visit) {
	for _, v := range j.Records {
		if v.Key == key {
			out = append(out, v)
		}
	}
	return out
}
