package generate

import (
	"io"
	"strings"
)

// StopFilter writes text up to the first stop string. It holds back text that may be the
// beginning of a stop string until more text decides.
type StopFilter struct {
	W       io.Writer
	Stops   []string
	Stopped bool   // a stop string was found; nothing more is written
	Found   string // that stop string
	held    string
}

// Write takes the next part of the text.
func (s *StopFilter) Write(b []byte) (int, error) {
	s.held += string(b)
	// The stop string that is complete first counts, of several the longest. So it makes
	// no difference in which parts the text comes.
	start, end := 0, -1
	for _, stop := range s.Stops {
		i := strings.Index(s.held, stop)
		if n := i + len(stop); stop != "" && i >= 0 && (end < 0 || n < end || n == end && i < start) {
			start, end = i, n
		}
	}
	if end >= 0 {
		s.held, s.Found, s.Stopped = s.held[:start], s.held[start:end], true
		return len(b), s.Flush()
	}
	keep := 0
	for _, stop := range s.Stops {
		for n := min(len(stop)-1, len(s.held)); n > keep; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				keep = n
			}
		}
	}
	_, err := io.WriteString(s.W, s.held[:len(s.held)-keep])
	s.held = s.held[len(s.held)-keep:]
	return len(b), err
}

// Flush writes the text that is held back, at the end of all text.
func (s *StopFilter) Flush() error {
	_, err := io.WriteString(s.W, s.held)
	s.held = ""
	return err
}
