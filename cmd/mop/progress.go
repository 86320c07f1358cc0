package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"mop/internal/progress"
)

// bars shows phases as progress bars on a terminal. Elsewhere, a count is a line now and
// then; other phases have their log.
type bars struct {
	w     io.Writer // a terminal, or nil
	log   io.Writer // what is none, or nil
	bar   *progressbar.ProgressBar
	title string
}

func newBars(w io.Writer) *bars {
	if onTerminal(w) {
		return &bars{w: w}
	}
	return &bars{log: w}
}

func (b *bars) tell(u progress.Update) {
	if b.w == nil {
		return
	}
	if title := fmt.Sprintf("step %d: %s", u.Step, u.Phase); title != b.title {
		b.end()
		b.title = title
		b.bar = progressbar.NewOptions(u.Total, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(title), progressbar.OptionClearOnFinish())
	}
	b.bar.Set(u.Done)
}

// count is a bar of one phase that every call takes a step further.
func (b *bars) count(title string, total int) func() {
	if b.w == nil {
		return lines(b.log, title, total, time.Now)
	}
	b.end()
	b.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(title), progressbar.OptionClearOnFinish())
	return func() { b.bar.Add(1) }
}

// lines tells of steps in a line every quietFor.
func lines(w io.Writer, title string, total int, now func() time.Time) func() {
	done, next := 0, now().Add(quietFor)
	return func() {
		done++
		if t := now(); done < total && !t.Before(next) {
			fmt.Fprintf(w, "%d of %d %s\n", done, total, title)
			next = t.Add(quietFor)
		}
	}
}

func (b *bars) end() {
	if b.bar != nil {
		b.bar.Finish()
		b.bar = nil
	}
}
