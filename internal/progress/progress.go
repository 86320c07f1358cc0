// Package progress is how long computations report how far they have come. A
// computation takes a Func in its options and calls it after each unit of work; a
// command shows the updates as a progress bar or as log lines.
package progress

import "time"

// Update is one report of a computation.
type Update struct {
	Step   int           // pruning step that the phase belongs to, from 1; 0 = none
	Phase  string        // what is being done, such as "AMP scores"
	Done   int           // finished units of the phase
	Total  int           // all units of the phase
	Detail string        // current figures to show beside the count, such as the loss; may be empty
	Left   time.Duration // estimated time until Done equals Total; 0 = unknown
}

// Func receives the updates of one computation, in order and from one goroutine. A
// nil Func is allowed and means that nobody listens.
type Func func(Update)

// Report calls f if it is not nil.
func (f Func) Report(u Update) {
	if f != nil {
		f(u)
	}
}

// Counter returns a function that reports one more finished unit of a phase at each
// call.
func (f Func) Counter(step int, phase string, total int) func() {
	done := 0
	return func() {
		done++
		f.Report(Update{Step: step, Phase: phase, Done: done, Total: total})
	}
}
