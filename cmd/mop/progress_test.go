package main

import (
	"mop/internal/progress"
	"strings"
	"testing"
	"time"
)

// Without a terminal, progress is a line now and then, and none where all is soon done.
func TestProgressLines(t *testing.T) {
	var out strings.Builder
	b := newBars(&out)
	now := time.Now()
	b.now = func() time.Time { return now }
	tick := progress.Func(b.show).Counter(0, "tokens", 5)
	for range 5 {
		tick()
		now = now.Add(quietFor * 2 / 3)
	}
	if want := "tokens: 3 of 5\n"; out.String() != want {
		t.Errorf("want %q, got %q", want, out.String())
	}
}
