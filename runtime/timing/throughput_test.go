package timing

import (
	"testing"
	"time"
)

func TestThroughput(t *testing.T) {
	start := time.Now()
	p := Throughput{start: start, first: start.Add(500 * time.Millisecond), last: start.Add(2500 * time.Millisecond), prompt: 10, generated: 9}
	if got, want := p.String(), "prompt: 10 tokens, 20.0 tokens/s\ngenerated: 9 tokens, 4.0 tokens/s\n"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
	p.generated, p.last = 1, p.first
	if got, want := p.String(), "prompt: 10 tokens, 20.0 tokens/s\ngenerated: 1 tokens\n"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}
