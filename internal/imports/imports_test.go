// Package imports tests that the packages of the repository import each other in one
// direction.
package imports

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// layers lists the top-level folders from the lowest to the highest. A package may
// import packages of its own layer and of those below. internal lies below all.
var layers = []string{"internal", "kernels", "runtime", "prune", "bench", "cmd", "examples"}

func layerOf(pkg string) int {
	for i, name := range layers {
		if rest, ok := strings.CutPrefix(pkg, "mop/"+name); ok && (rest == "" || rest[0] == '/') {
			return i
		}
	}
	return -1
}

func TestImportsRunOneWay(t *testing.T) {
	var errs bytes.Buffer
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "mop/...")
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, errs.Bytes())
	}
	packages := 0
	for d := json.NewDecoder(bytes.NewReader(out)); ; packages++ {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		own := layerOf(p.ImportPath)
		if own < 0 {
			t.Errorf("%s: lies outside %v", p.ImportPath, layers)
		}
		for _, list := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			for _, i := range list {
				if strings.HasPrefix(i, "mop/") && layerOf(i) > own {
					t.Errorf("%s imports %s, which is in a higher layer", p.ImportPath, i)
				}
			}
		}
	}
	if packages < 20 {
		t.Errorf("want at least 20 packages, got %d", packages)
	}
}
