package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w*)\(`)
	// The name of a test, with the alternatives of a pattern and the .* that stands for any
	// end of a name, as in TestTrain(Norm|Rows) and TestTrain.*
	testName = regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz)(?:[A-Z]\w*|\([A-Z][\w|]*\))(?:\([\w|]*\)|\w)*(?:\.\*)?`)
	// An option that selects tests, and its pattern.
	testOption = regexp.MustCompile(`[\s\x60]-(?:test\.)?(?:run|bench|fuzz|list)[= ]('[^']*'|"[^"]*"|[^\s'"\x60]+)`)
)

// Every test that the Makefile, a script or a document names exists, and so does one for
// every alternative of a pattern that selects tests. Without this a renamed test would be
// left out of the runs that select it, and nothing would fail.
func TestNamedTestsExist(t *testing.T) {
	functions, files := testsAndTheirUsers(t)
	names, patterns := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range testName.FindAllString(string(text), -1) {
			if word == "TestName" { // stands for any test
				continue
			}
			for _, name := range expand(word) {
				names++
				if !matchesTest(functions, "^"+name+"$") {
					t.Errorf("%s: %s: there is no test %s", file, word, name)
				}
			}
		}
		for _, m := range testOption.FindAllStringSubmatch(string(text), -1) {
			pattern := strings.ReplaceAll(strings.Trim(m[1], `'"`), "$$", "$") // make writes $ as $$
			if strings.Contains(strings.TrimSuffix(pattern, "$"), "$") || pattern == "^$" || pattern == `^\$` || pattern == "TestName" {
				continue // a variable, whose names are checked where it is set; or no test, or any
			}
			for _, alternative := range expand("(" + pattern + ")") {
				patterns++
				if name, _, _ := strings.Cut(alternative, "/"); !matchesTest(functions, name) {
					t.Errorf("%s: %s: %s matches no test", file, m[0], name)
				}
			}
		}
	}
	if len(functions) < 100 || names < 30 || patterns < 4 {
		t.Errorf("only %d tests, %d names and %d patterns were seen", len(functions), names, patterns)
	}
}

// testsAndTheirUsers returns the names of all tests of the repository, and the files that
// may name tests. Of these, the change log and the measured results are left out: they name
// the tests of earlier commits.
func testsAndTheirUsers(t *testing.T) (functions, files []string) {
	const root = "../.."
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := d.Name(); {
		case d.IsDir():
			if slices.Contains([]string{".git", "out", "bin", "testdata"}, name) || file == filepath.Join(root, "bench", "results") {
				return filepath.SkipDir
			}
		case strings.HasSuffix(name, "_test.go"):
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for _, m := range testFunction.FindAllStringSubmatch(string(text), -1) {
				functions = append(functions, m[1])
			}
		case name == "Makefile" || filepath.Ext(name) == ".sh" || filepath.Ext(name) == ".md" && name != "CHANGELOG.md":
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return functions, files
}

func matchesTest(functions []string, pattern string) bool {
	match, err := regexp.Compile(pattern)
	return err == nil && slices.ContainsFunc(functions, match.MatchString)
}

// expand returns what a pattern stands for, each alternative in parentheses written out:
// a(b|c)d is abd and acd.
func expand(pattern string) []string {
	start := strings.IndexByte(pattern, '(')
	if start < 0 {
		return []string{pattern}
	}
	var alternatives []string
	depth, from := 0, start+1
	for i := start; i < len(pattern); i++ {
		switch pattern[i] {
		case '(':
			depth++
		case ')', '|':
			if depth == 1 {
				alternatives = append(alternatives, pattern[from:i])
				from = i + 1
			}
			if pattern[i] == '|' {
				continue
			}
			if depth--; depth > 0 {
				continue
			}
			var all []string
			for _, a := range alternatives {
				all = append(all, expand(pattern[:start]+a+pattern[i+1:])...)
			}
			return all
		}
	}
	return []string{pattern} // unclosed: matches nothing
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string][]string{
		"TestA":           {"TestA"},
		"Test(A|B)C":      {"TestAC", "TestBC"},
		"(A|B(C|D))(|E)$": {"A$", "AE$", "BC$", "BCE$", "BD$", "BDE$"},
		"(A|B":            {"(A|B"},
	} {
		if got := expand(pattern); !slices.Equal(got, want) {
			t.Errorf("%s: want %q, got %q", pattern, want, got)
		}
	}
}
