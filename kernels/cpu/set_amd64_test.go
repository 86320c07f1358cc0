package cpu

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The set that is chosen by itself is the fastest of which Linux says that the
// processor has all its instructions.
func TestBest(t *testing.T) {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	_, line, ok := strings.Cut(string(text), "\nflags")
	if !ok {
		t.Skip("/proc/cpuinfo lists no flags")
	}
	line, _, _ = strings.Cut(line, "\n")
	flags := strings.Fields(line)
	want := Generic
	for _, c := range []struct {
		set   Set
		needs string
	}{{AVX2, "avx2 fma f16c"}, {AVX512, "avx512f avx512bw avx512dq avx512vl"}} {
		if want+1 == c.set && !slices.ContainsFunc(strings.Fields(c.needs), func(f string) bool { return !slices.Contains(flags, f) }) {
			want = c.set
		}
	}
	if got, err := Choose("auto"); err != nil || got != want {
		t.Errorf("want %v, got %v, %v; flags %v", want, got, err, flags)
	}
}
