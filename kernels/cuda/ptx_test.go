package cuda

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The committed PTX was built of the sources as they are: `make kernels` wrote
// their checksums beside it.
func TestPTXIsOfTheseSources(t *testing.T) {
	f, err := os.Open("ptx/sources.sha256")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	listed := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		data, err := os.ReadFile(name)
		if !ok || err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != sum {
			t.Errorf("%s has changed: run make kernels", name)
		}
		listed[name] = true
	}
	sources, err := filepath.Glob("*.cu*")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources", err)
	}
	for _, s := range sources {
		if !listed[s] {
			t.Errorf("%s is new: run make kernels", s)
		}
		if name, ok := strings.CutSuffix(s, ".cu"); ok {
			text, err := os.ReadFile(s)
			if err != nil {
				t.Fatal(err)
			}
			archs := []string{"sm_80", "sm_90"}
			if strings.HasSuffix(name, "_wgmma") { // kernels that only sm_90a has
				archs = nil
			}
			if strings.Contains(string(text), "HOPPER") {
				archs = append(archs, "sm_90a")
			}
			for _, arch := range archs {
				if _, err := os.Stat(filepath.Join("ptx", arch, name+".ptx")); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
