package oniguruma

import (
	"slices"
	"sort"
	"unicode"
)

// set is a set of runes: sorted, disjoint, non-adjacent ranges.
type set struct {
	ranges []runeRange
	ascii  [2]uint64 // the same set's first 128 runes
}

type runeRange struct{ low, high rune }

// newSet normalises ranges.
func newSet(ranges []runeRange) *set {
	slices.SortFunc(ranges, func(a, b runeRange) int { return int(a.low) - int(b.low) })
	s := &set{}
	for _, r := range ranges {
		if n := len(s.ranges); n > 0 && r.low <= s.ranges[n-1].high+1 {
			s.ranges[n-1].high = max(s.ranges[n-1].high, r.high)
			continue
		}
		s.ranges = append(s.ranges, r)
	}
	for _, r := range s.ranges {
		for c := r.low; c <= min(r.high, 127); c++ {
			s.ascii[c/64] |= 1 << (c % 64)
		}
	}
	return s
}

func (s *set) has(r rune) bool {
	if r < 128 {
		return s.ascii[r/64]>>(r%64)&1 != 0
	}
	i := sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].high >= r })
	return i < len(s.ranges) && s.ranges[i].low <= r
}

func (s *set) negate() *set {
	var out []runeRange
	next := rune(0)
	for _, r := range s.ranges {
		if r.low > next {
			out = append(out, runeRange{next, r.low - 1})
		}
		next = r.high + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, runeRange{next, unicode.MaxRune})
	}
	return newSet(out)
}

func union(sets ...*set) *set {
	var all []runeRange
	for _, s := range sets {
		all = append(all, s.ranges...)
	}
	return newSet(all)
}

func intersect(a, b *set) *set { return union(a.negate(), b.negate()).negate() }

func tables(tables ...*unicode.RangeTable) *set {
	var out []runeRange
	add := func(low, high, stride rune) {
		if stride == 1 {
			out = append(out, runeRange{low, high})
			return
		}
		for r := low; r <= high; r += stride {
			out = append(out, runeRange{r, r})
		}
	}
	for _, t := range tables {
		for _, r := range t.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range t.R32 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
	}
	return newSet(out)
}

// fold adds all simple case foldings of the members.
func (s *set) fold() *set {
	out := slices.Clone(s.ranges)
	for _, r := range s.ranges {
		for c := r.low; c <= min(r.high, 0x1e943); c++ { // the last letter with a case
			for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
				out = append(out, runeRange{f, f})
			}
		}
	}
	return newSet(out)
}

// The sets of Oniguruma's escapes with Unicode text. Outside a class, and for \b, its
// \w has six more numbers of Latin-1.
func wordSet() *set {
	return tables(unicode.Letter, unicode.Nl, unicode.Other_Alphabetic, unicode.Mark, unicode.Nd, unicode.Pc)
}
func bareWordSet() *set {
	return union(wordSet(), newSet([]runeRange{{0xb2, 0xb3}, {0xb9, 0xb9}, {0xbc, 0xbe}}))
}
func digitSet() *set { return tables(unicode.Nd) }
func spaceSet() *set { return tables(unicode.White_Space) }
func hexSet() *set   { return newSet([]runeRange{{'0', '9'}, {'A', 'F'}, {'a', 'f'}}) }

// propertySet is the set of \p{name}, nil if the name is not known here.
func propertySet(name string) *set {
	key := make([]byte, 0, len(name))
	for i := range len(name) { // case, spaces, - and _ do not count
		if c := name[i]; c >= 'A' && c <= 'Z' {
			key = append(key, c+'a'-'A')
		} else if c != ' ' && c != '-' && c != '_' {
			key = append(key, c)
		}
	}
	switch string(key) {
	case "any":
		return newSet([]runeRange{{0, unicode.MaxRune}})
	case "ascii":
		return newSet([]runeRange{{0, 127}})
	case "alpha", "alphabetic":
		return tables(unicode.Letter, unicode.Nl, unicode.Other_Alphabetic)
	case "alnum":
		return tables(unicode.Letter, unicode.Nl, unicode.Other_Alphabetic, unicode.Nd)
	case "digit":
		return digitSet()
	case "space", "whitespace":
		return spaceSet()
	case "word":
		return wordSet()
	case "xdigit":
		return hexSet()
	case "upper", "uppercase":
		return tables(unicode.Lu, unicode.Other_Uppercase)
	case "lower", "lowercase":
		return tables(unicode.Ll, unicode.Other_Lowercase)
	}
	if t := tableNamed(string(key)); t != nil {
		return tables(t)
	}
	return nil
}

// longCategories are the long names of the general categories.
var longCategories = map[string]string{
	"letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S", "separator": "Z",
	"uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "modifierletter": "Lm", "otherletter": "Lo",
	"nonspacingmark": "Mn", "spacingmark": "Mc", "enclosingmark": "Me", "decimalnumber": "Nd", "letternumber": "Nl", "othernumber": "No",
	"connectorpunctuation": "Pc", "dashpunctuation": "Pd", "openpunctuation": "Ps", "closepunctuation": "Pe", "initialpunctuation": "Pi",
	"finalpunctuation": "Pf", "otherpunctuation": "Po", "mathsymbol": "Sm", "currencysymbol": "Sc", "modifiersymbol": "Sk", "othersymbol": "So",
	"spaceseparator": "Zs", "lineseparator": "Zl", "paragraphseparator": "Zp", "control": "Cc", "format": "Cf", "privateuse": "Co",
}

func tableNamed(key string) *unicode.RangeTable {
	if short, ok := longCategories[key]; ok {
		return unicode.Categories[short]
	}
	simple := func(name string) string {
		out := make([]byte, 0, len(name))
		for i := range len(name) {
			if c := name[i]; c >= 'A' && c <= 'Z' {
				out = append(out, c+'a'-'A')
			} else if c != '_' {
				out = append(out, c)
			}
		}
		return string(out)
	}
	for _, all := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts} {
		for name, t := range all {
			// C and Cn of Go's tables lack the unassigned runes, Cs cannot occur in text.
			if simple(name) == key && name != "C" && name != "Cn" && name != "Cs" && name != "LC" {
				return t
			}
		}
	}
	return nil
}
