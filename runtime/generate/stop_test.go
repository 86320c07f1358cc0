package generate

import (
	"strings"
	"testing"
)

// What is written is the text before the first stop string, however the text is
// cut into parts, and nothing of a stop string comes out before it is known to be
// none.
func TestStopFilter(t *testing.T) {
	for _, c := range []struct {
		stops      string // with | between
		text, want string
	}{
		{"", "all of it", "all of it"},
		{"\n", "one line\nanother", "one line"},
		{"END", "the ENthe EN", "the ENthe EN"},
		{"END", "ENEND", "EN"},
		{"aab", "aaab", "a"},
		{"abab", "aabacababab", "aabac"},
		{"xyz|yz", "wyz", "w"},
		{"xyz|yz", "wxyz", "w"},
		{"abc|bcd", "xabd bcd", "xabd "},
		{"abcd|bc", "xabcd", "xa"},
		{"é", "cafés", "caf"},
		{"</s>|<|", "a < b </ c </s>", "a < b </ c "},
		{"all", "all", ""},
	} {
		var stops []string
		if c.stops != "" {
			stops = strings.Split(c.stops, "|")
		}
		if c.stops == "</s>|<|" {
			stops = []string{"</s>", "<|"}
		}
		for size := 1; size <= len(c.text); size++ {
			var out strings.Builder
			s := &StopFilter{Stops: stops, W: &out}
			for rest := c.text; rest != "" && !s.Stopped; {
				n := min(size, len(rest))
				if _, err := s.Write([]byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				if !strings.HasPrefix(c.want, out.String()) {
					t.Errorf("stops %q, parts of %d: %q came out before %q was known to end in %q", stops, size, out.String(), c.text, c.want)
				}
			}
			if err := s.Flush(); err != nil || out.String() != c.want {
				t.Errorf("stops %q, text %q in parts of %d: want %q, got %q", stops, c.text, size, c.want, out.String())
			}
		}
	}
}
