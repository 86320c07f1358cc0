package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// output is stdout that remembers its first failure, so that a result that was
// not written, on a full disk say, is never taken for one that was.
type output struct {
	file *os.File
	err  error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// onTerminal reports whether a person reads what goes to w.
func onTerminal(w io.Writer) bool {
	switch f := w.(type) {
	case *output:
		return term.IsTerminal(int(f.file.Fd()))
	case *os.File:
		return term.IsTerminal(int(f.Fd()))
	}
	return false
}
