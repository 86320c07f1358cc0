package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"mop/internal/progress"
)

// quietFor is the time between two lines of progress where there is no terminal.
const quietFor = 10 * time.Second

// bars shows the progress of a command's parts, one after the other: as bars on a
// terminal, elsewhere as a line of text every quietFor. A part that is over sooner has no
// line.
type bars struct {
	w        io.Writer
	terminal bool
	now      func() time.Time
	bar      *progressbar.ProgressBar
	title    string
	next     time.Time // of the next line
}

func newBars(w io.Writer) *bars { return &bars{w: w, terminal: onTerminal(w), now: time.Now} }

// update shows that some units of a part are done. The part is named by the update and,
// if several models have the same part, by the prefix before it.
func (b *bars) update(prefix string, u progress.Update) {
	title := prefix + u.Phase
	if u.Step > 0 {
		title = fmt.Sprintf("%sstep %d: %s", prefix, u.Step, u.Phase)
	}
	if title != b.title {
		b.end()
		b.title, b.next = title, b.now().Add(quietFor)
	}
	detail := ""
	if u.Detail != "" {
		detail = ", " + u.Detail
	}
	if b.terminal {
		if b.bar == nil {
			b.bar = progressbar.NewOptions(u.Total, progressbar.OptionSetWriter(b.w), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
		}
		b.bar.ChangeMax(u.Total)
		b.bar.Describe(title + detail)
		b.bar.Set(u.Done)
		return
	}
	if now := b.now(); u.Done < u.Total && !now.Before(b.next) {
		if u.Left > 0 {
			detail += fmt.Sprintf(", %v left", u.Left.Round(time.Second))
		}
		fmt.Fprintf(b.w, "%s: %d of %d%s\n", title, u.Done, u.Total, detail)
		b.next = now.Add(quietFor)
	}
}

// end removes the bar.
func (b *bars) end() {
	if b.bar != nil {
		b.bar.Finish()
		b.bar = nil
	}
	b.title = ""
}

// show is update without a prefix.
func (b *bars) show(u progress.Update) { b.update("", u) }

// showOnTerminal is show for parts that write a log, which suffices where there is no
// terminal.
func (b *bars) showOnTerminal(u progress.Update) {
	if b.terminal {
		b.show(u)
	}
}
