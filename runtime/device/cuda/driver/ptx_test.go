//go:build !cuda

package driver

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every kernel stands by itself: but for the shared memory in its head, it names nothing
// that is declared outside of it.
func TestSources(t *testing.T) {
	list, err := filepath.Glob("../../../../kernels/cuda/ptx/*/*.ptx")
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	head := regexp.MustCompile(`^\.version \d\.\d\n\.target sm_\w+\n\.address_size 64\n(\.extern \.shared \.align \d+ \.b8 (\w+)\[\];\n)?$`)
	declared := regexp.MustCompile(`(?m)^\.(global|const|func|shared|visible \.func|weak)`)
	for _, f := range list {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all := Sources(filepath.Base(f), string(text))
		if want := strings.Count(string(text), ".entry"); len(all) != want || want == 0 {
			t.Errorf("%s: want %d kernels, got %d", f, want, len(all))
		}
		for name, k := range all {
			if !head.MatchString(k.head) {
				t.Errorf("%s: %s: want a head of version, target and shared memory, got %q", f, name, k.head)
			}
			if declared.MatchString(k.entry) || !strings.HasPrefix(k.entry, ".visible .entry "+name+"(") || strings.Count(k.entry, "\n}") != 1 {
				t.Errorf("%s: %s: want one kernel and nothing else", f, name)
			}
		}
	}
}
