package main

import (
	"fmt"
	"io"

	"github.com/schollz/progressbar/v3"
)

// bars shows phases as progress bars, on a terminal only.
type bars struct {
	w     io.Writer
	bar   *progressbar.ProgressBar
	title string
}

func newBars(w io.Writer) *bars {
	if onTerminal(w) {
		return &bars{w: w}
	}
	return &bars{}
}

func (b *bars) tell(step int, phase string, done, total int) {
	if b.w == nil {
		return
	}
	if title := fmt.Sprintf("step %d: %s", step, phase); title != b.title {
		b.end()
		b.title = title
		b.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(title), progressbar.OptionClearOnFinish())
	}
	b.bar.Set(done)
}

// count is a bar of one phase that every call takes a step further.
func (b *bars) count(title string, total int) func() {
	if b.w == nil {
		return func() {}
	}
	b.end()
	b.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(title), progressbar.OptionClearOnFinish())
	return func() { b.bar.Add(1) }
}

func (b *bars) end() {
	if b.bar != nil {
		b.bar.Finish()
		b.bar = nil
	}
}
