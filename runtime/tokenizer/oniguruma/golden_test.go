package oniguruma

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"unicode"
	"unicode/utf8"
)

// golden is testdata/golden.json, which golden.py writes.
type golden struct {
	Texts []string
	Cases []struct {
		Pattern string
		Matches [][][2]int // by text: offsets in runes
	}
	Sets []struct {
		Pattern string
		Runs    [][2]rune
	}
}

func readGolden(t testing.TB) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// matches lists the matches that are not empty, in runes.
func matches(re *Regexp, text string) [][2]int {
	out := [][2]int{}
	re.Matcher().FindAll([]byte(text), func(start, end int) {
		if start < end {
			out = append(out, [2]int{utf8.RuneCountInString(text[:start]), utf8.RuneCountInString(text[:end])})
		}
	})
	return out
}

func TestMatchesOfOniguruma(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Cases {
		re, err := Compile(c.Pattern)
		if err != nil {
			t.Errorf("%s: %v", c.Pattern, err)
			continue
		}
		for i, want := range c.Matches {
			if got := matches(re, g.Texts[i]); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %q:\nwant %v\ngot  %v", c.Pattern, g.Texts[i], want, got)
			}
		}
	}
}

// Code points that were assigned after the Unicode version of package unicode may
// differ.
func TestSetsOfOniguruma(t *testing.T) {
	for _, c := range readGolden(t).Sets {
		re, err := Compile(c.Pattern)
		if err != nil {
			t.Errorf("%s: %v", c.Pattern, err)
			continue
		}
		want := map[rune]bool{}
		for _, r := range c.Runs {
			for x := r[0]; x <= r[1]; x++ {
				want[x] = true
			}
		}
		m := re.Matcher()
		differ := 0
		var text [4]byte
		for r := rune(0); r <= unicode.MaxRune; r++ {
			if !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cc, unicode.Cf, unicode.Co) {
				continue
			}
			n := utf8.EncodeRune(text[:], r)
			if _, _, got := m.Find(text[:n], 0); got != want[r] {
				if differ++; differ < 8 {
					t.Errorf("%s: %U: want %v, got %v", c.Pattern, r, want[r], got)
				}
			}
		}
		if differ > 0 {
			t.Errorf("%s: %d differ", c.Pattern, differ)
		}
	}
}
