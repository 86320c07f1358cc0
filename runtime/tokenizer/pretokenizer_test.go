package tokenizer

import (
	"slices"
	"testing"
)

// The words of tokenizers 0.22.2 by Sequence[Digits(individual_digits=True), ByteLevel(add_prefix_space=False)].
func TestDigits(t *testing.T) {
	tok := newTokenizer(1)
	for _, s := range []component{{Type: "Digits", IndividualDigits: new(true)}, {Type: "ByteLevel", AddPrefixSpace: new(false)}} {
		if err := tok.addPreTokenizer(&s); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string][]string{
		"a  7b":                               {"a", "  ", "7", "b"},
		"  12 ab  ":                           {"  ", "1", "2", " ab", "  "},
		"x1.5, 2-3":                           {"x", "1", ".", "5", ",", " ", "2", "-", "3"},
		"don't 4's '5s":                       {"don", "'t", " ", "4", "'s", " '", "5", "s"},
		"\n\n9\t8 \u00a0\u00bd":               {"\n\n", "9", "\t", "8", " \u00a0", "\u00bd"},
		"\u0663\u0664 \u2168!  \u4e2d1\u6587": {"\u0663", "\u0664", " ", "\u2168", "!", " ", " \u4e2d", "1", "\u6587"},
		"7":                                   {"7"},
		"   ":                                 {"   "},
		"a1 \r\n 2":                           {"a", "1", " \r\n ", "2"},
		"_1_  _":                              {"_", "1", "_", " ", " _"},
	} {
		var got []string
		e := encoder{t: tok}
		for _, w := range e.cutWords([]byte(text), true) {
			got = append(got, string(w.text))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: want %q, got %q", text, want, got)
		}
	}
}
