package oniguruma

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCompileRefuses(t *testing.T) {
	for pattern, want := range map[string]string{
		"(":                        "missing )",
		")":                        "unmatched )",
		"[a":                       "missing ]",
		"[]":                       "empty class",
		"*a":                       "without something to repeat",
		`a\`:                       `\ at the end`,
		`(a)\1`:                    `\1: not supported`,
		`\R`:                       `\R: not supported`,
		`\X`:                       `\X: not supported`,
		`\G`:                       `\G: not supported`,
		`\p{Klingon}`:              `\p{Klingon}: not supported`,
		`\p{Cn}`:                   `\p{Cn}: not supported`,
		"[[:graph:]]":              "[:graph:]: not supported",
		"(?<=a+)b":                 "variable length",
		"(?i:ss)":                  "without case",
		"(?x: a)":                  "(?x: not supported",
		"(?i)a|b":                  "in front of alternatives",
		"(?:a*)*":                  "what can be empty",
		"a{2000}":                  "not supported",
		"a{3,1}":                   "not supported",
		"a{2}?":                    "not supported",
		"[z-a]":                    "range",
		`[\d-z]`:                   "range",
		"(?=a)*":                   "repeated assertion",
		`\xff`:                     "not supported",
		"a\xff":                    "UTF-8",
		strings.Repeat("(", 100):   "too deep",
		"((a{999}){999}){999}":     "too long",
		strings.Repeat("a", 20000): "at most",
	} {
		if _, err := Compile(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: want an error with %q, got %v", pattern, want, err)
		}
	}
}

// The patterns that take exponential time with plain backtracking, and those of
// released tokenizers, need a number of steps in proportion to the text.
func TestStepsAreLinear(t *testing.T) {
	patterns := []string{`(?:a|a)*b|a+`, `(?:a|aa)+$|a+`, `(?:a?){20}b|a+`, `(?:\s+)+x|\s+`}
	for _, c := range readGolden(t).Cases[:6] {
		patterns = append(patterns, c.Pattern)
	}
	for _, pattern := range patterns {
		re, err := Compile(pattern)
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, unit := range []string{"a", " ", "1", ".", "\n ", "a ", "é", "\xff"} {
			m := re.Matcher()
			text := []byte(strings.Repeat(unit, 20000))
			m.FindAll(text, func(int, int) {})
			if most := 200 * len(text); m.Steps() > most {
				t.Errorf("%s: %d times %q takes %d steps, want at most %d", pattern, 20000, unit, m.Steps(), most)
			}
		}
	}
}

// A pattern is refused or it gives matches that are in order and within the text.
func FuzzCompile(f *testing.F) {
	for _, c := range readGolden(f).Cases {
		f.Add(c.Pattern, "Hello 123\n  x")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := Compile(pattern)
		if err != nil {
			return
		}
		if len(text) > 200 {
			text = text[:200]
		}
		last := 0
		re.Matcher().FindAll([]byte(text), func(start, end int) {
			if start < last || end < start || end > len(text) {
				t.Fatalf("%q in %q: match %d to %d after %d", pattern, text, start, end, last)
			}
			if utf8.ValidString(text) && (!utf8.ValidString(text[:start]) || !utf8.ValidString(text[start:end])) {
				t.Fatalf("%q in %q: a match cuts a character", pattern, text)
			}
			last = end
		})
	})
}
