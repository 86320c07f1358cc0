package compare

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A comma in a path that exists belongs to the path; any other one separates names.
func TestSplitNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"a", "b", "a,b", "x, y z", "ü,1,2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		list string
		want []string
	}{
		{"a", []string{"a"}},
		{"a,b", []string{"a,b"}},
		{"b,a", []string{"b", "a"}},
		{"b,a,b", []string{"b", "a,b"}},
		{"./a,./b", []string{"./a", "./b"}},
		{"x, y z,preset:llama-2-7b,ü,1,2", []string{"x, y z", "preset:llama-2-7b", "ü,1,2"}},
		{"missing,a,no", []string{"missing", "a", "no"}},
		{`new\,dir,b`, []string{"new,dir", "b"}},
		{filepath.Join(dir, "a,b") + ",b", []string{filepath.Join(dir, "a,b"), "b"}},
		{"a,,b", []string{"a", "", "b"}},
		{"", []string{""}},
	} {
		if got := SplitNames(c.list); !slices.Equal(got, c.want) {
			t.Errorf("%q: want %q, got %q", c.list, c.want, got)
		}
	}
}
