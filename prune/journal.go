package prune

import (
	"fmt"
	"path/filepath"

	"mop/internal/journal"
	"mop/prune/plan"
)

// journalFile holds the finished steps of a run in its output directory. It is kept when
// the run ends, so that another target costs only new steps.
const journalFile = "journal.jsonl"

// record is one finished step.
type record struct {
	Step   int                    `json:"step"`
	Kind   plan.Kind              `json:"kind"`
	Layer  *int                   `json:"layer,omitempty"`
	Forced string                 `json:"forced,omitempty"`
	Scores map[plan.Kind]*float64 `json:"scores,omitempty"`
	State  plan.State             `json:"state"`
}

func (r *run) openJournal() (err error) {
	r.journal, err = journal.Open(filepath.Join(r.Out, journalFile), r.identity(), func(i int, s record) error {
		if s.Step != i+1 {
			return fmt.Errorf("want step %d, got %d", i+1, s.Step)
		}
		return nil
	})
	return err
}

// journaled returns step n, from 1, if it is in the journal.
func (r *run) journaled(n int) (record, bool) {
	if n > len(r.journal.Records) {
		return record{}, false
	}
	return r.journal.Records[n-1], true
}
