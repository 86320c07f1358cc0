// Package house holds the rules of the repository as a whole.
package imports

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors lists the folders from the ground up: a package may import its own floor
// and those below. internal lies under all of them.
var floors = []string{"internal", "kernels", "runtime", "prune", "bench", "cmd"}

func floor(pkg string) int {
	for i, name := range floors {
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
		own := floor(p.ImportPath)
		if own < 0 {
			t.Errorf("%s: lies outside %v", p.ImportPath, floors)
		}
		for _, list := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			for _, i := range list {
				if strings.HasPrefix(i, "mop/") && floor(i) > own {
					t.Errorf("%s imports %s, which lies above it", p.ImportPath, i)
				}
			}
		}
	}
	if packages < 20 {
		t.Errorf("only %d packages were seen", packages)
	}
}
