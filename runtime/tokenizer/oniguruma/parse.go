package oniguruma

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds on a pattern: no pattern of a real tokenizer comes near them.
const (
	maxPattern = 1 << 14 // bytes
	maxDepth   = 64      // nested groups and classes
	maxRepeat  = 1000
)

// kind of a node.
type kind uint8

const (
	matchSet  kind = iota // one rune of set
	concat                // all of subs
	alternate             // the first of subs that leads to a match
	repeat                // subs[0], min to max times
	atomic                // subs[0], without going back into it
	lookAhead
	lookBehind
	assertion
)

type node struct {
	kind     kind
	set      *set
	subs     []*node
	min, max int // max -1 = no bound
	lazy     bool
	negative bool
	assert   assert
}

// assert is a condition on a position.
type assert uint8

const (
	lineBegin assert = iota
	lineEnd
	textBegin
	textEnd
	textEndOrNewline
	wordBoundary
	notWordBoundary
)

// parser reads a pattern from left to right.
type parser struct {
	rest       string
	depth      int
	ignoreCase bool
	dotAll     bool
}

func parse(pattern string) (*node, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("want at most %d bytes, got %d", maxPattern, len(pattern))
	}
	if !utf8.ValidString(pattern) {
		return nil, errors.New("not valid UTF-8")
	}
	p := &parser{rest: pattern}
	n, err := p.alternatives()
	if err == nil && p.rest != "" {
		err = errors.New("unmatched )")
	}
	return n, err
}

func (p *parser) next() rune {
	r, n := utf8.DecodeRuneInString(p.rest)
	p.rest = p.rest[n:]
	return r
}

func (p *parser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok {
		p.rest = rest
	}
	return ok
}

// alternatives reads up to the end or the closing parenthesis of the group.
func (p *parser) alternatives() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	defer func() { p.depth-- }()
	ignoreCase, dotAll := p.ignoreCase, p.dotAll
	defer func() { p.ignoreCase, p.dotAll = ignoreCase, dotAll }()
	var all []*node
	for {
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		all = append(all, n)
		if !p.take("|") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return &node{kind: alternate, subs: all}, nil
}

func (p *parser) sequence() (*node, error) {
	out := &node{kind: concat}
	last := rune(-1) // the literal before, for pairs that fold to one rune
	for p.rest != "" && p.rest[0] != '|' && p.rest[0] != ')' {
		n, literal, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n == nil { // options for the rest of the group
			continue
		}
		if p.ignoreCase && literal >= 0 && last >= 0 && foldsWithNext(last, literal) {
			return nil, fmt.Errorf("%q without case, which stands for one letter too: not supported", string([]rune{last, literal}))
		}
		last = literal
		if n, err = p.quantifiers(n); err != nil {
			return nil, err
		}
		out.subs = append(out.subs, n)
	}
	return out, nil
}

// foldsWithNext reports whether one rune, such as U+00DF, has this pair as its case
// folding. Oniguruma matches that rune too.
func foldsWithNext(a, b rune) bool {
	switch string([]rune{unicode.ToLower(a), unicode.ToLower(b)}) {
	case "ss", "ff", "fi", "fl", "st":
		return true
	}
	return b >= 0x300 && b <= 0x36f || a == 0x2bc || a >= 0x370 && a < 0x590
}

// quantifiers reads what may follow an atom.
func (p *parser) quantifiers(n *node) (*node, error) {
	for {
		low, high, interval := 0, -1, false
		switch {
		case p.take("*"):
		case p.take("+"):
			low = 1
		case p.take("?"):
			high = 1
		default:
			var ok bool
			if low, high, ok = p.interval(); !ok {
				return n, nil
			}
			interval = true
		}
		if n.kind == assertion || n.kind == lookAhead || n.kind == lookBehind {
			return nil, errors.New("a repeated assertion: not supported")
		}
		if low > maxRepeat || high > maxRepeat || high >= 0 && low > high {
			return nil, fmt.Errorf("repetition {%d,%d}: not supported", low, high)
		}
		n = &node{kind: repeat, subs: []*node{n}, min: low, max: high}
		switch {
		case p.take("?"):
			if interval && low == high {
				return nil, errors.New("{n}?: not supported") // it is {0,n} to Oniguruma
			}
			n.lazy = true
		case !interval && p.take("+"):
			n = &node{kind: atomic, subs: []*node{n}}
		case strings.HasPrefix(p.rest, "+") || strings.HasPrefix(p.rest, "*"):
			return nil, errors.New("a repeated repetition: not supported")
		}
	}
}

// interval reads {n}, {n,}, {,m} or {n,m}. Any other brace is a literal.
func (p *parser) interval() (low, high int, ok bool) {
	if !strings.HasPrefix(p.rest, "{") {
		return 0, 0, false
	}
	body, rest, found := strings.Cut(p.rest[1:], "}")
	if !found {
		return 0, 0, false
	}
	from, to, comma := strings.Cut(body, ",")
	if from == "" && to == "" {
		return 0, 0, false
	}
	number := func(s string, absent int) (int, bool) {
		if s == "" {
			return absent, true
		}
		for _, c := range s {
			if c < '0' || c > '9' {
				return 0, false
			}
		}
		n, err := strconv.Atoi(s)
		return n, err == nil
	}
	low, okLow := number(from, 0)
	high, okHigh := number(to, -1)
	if !comma {
		high = low
	}
	if !okLow || !okHigh {
		return 0, 0, false
	}
	p.rest = rest
	return low, high, true
}

// one is a literal rune, which it also returns for foldsWithNext.
func (p *parser) one(r rune) (*node, rune, error) {
	s := newSet([]runeRange{{r, r}})
	if p.ignoreCase {
		s = s.fold()
	}
	return &node{kind: matchSet, set: s}, r, nil
}

func (p *parser) class(s *set) (*node, rune, error) {
	if p.ignoreCase {
		s = s.fold()
	}
	return &node{kind: matchSet, set: s}, -1, nil
}

// atom reads one element. literal is the rune that it stands for, or -1. A nil
// node only changed the options.
func (p *parser) atom() (n *node, literal rune, err error) {
	condition := func(a assert) (*node, rune, error) { return &node{kind: assertion, assert: a}, -1, nil }
	switch r := p.next(); r {
	case '(':
		n, err := p.group()
		return n, -1, err
	case '[':
		s, err := p.bracket()
		if err != nil {
			return nil, 0, err
		}
		return &node{kind: matchSet, set: s}, -1, nil
	case '.':
		if p.dotAll {
			return p.class(newSet([]runeRange{{0, unicode.MaxRune}}))
		}
		return p.class(newSet([]runeRange{{'\n', '\n'}}).negate())
	case '^':
		return condition(lineBegin)
	case '$':
		return condition(lineEnd)
	case '*', '+', '?':
		return nil, 0, fmt.Errorf("%c without something to repeat", r)
	case '\\':
		switch {
		case p.take("A"):
			return condition(textBegin)
		case p.take("z"):
			return condition(textEnd)
		case p.take("Z"):
			return condition(textEndOrNewline)
		case p.take("b"):
			return condition(wordBoundary)
		case p.take("B"):
			return condition(notWordBoundary)
		case p.take("w"):
			return p.class(bareWordSet())
		case p.take("W"):
			return p.class(bareWordSet().negate())
		}
		s, r, err := p.escape()
		if err != nil {
			return nil, 0, err
		}
		if s != nil {
			return p.class(s)
		}
		return p.one(r)
	default:
		return p.one(r)
	}
}

// group reads what follows an opening parenthesis.
func (p *parser) group() (*node, error) {
	out := &node{kind: concat}
	ignoreCase, dotAll := p.ignoreCase, p.dotAll
	switch {
	case p.take("?:"):
	case p.take("?="):
		out.kind = lookAhead
	case p.take("?!"):
		out.kind, out.negative = lookAhead, true
	case p.take("?<="):
		out.kind = lookBehind
	case p.take("?<!"):
		out.kind, out.negative = lookBehind, true
	case p.take("?>"):
		out.kind = atomic
	case p.take("?<"): // a name, which changes nothing without a reference to it
		name, rest, ok := strings.Cut(p.rest, ">")
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			return nil, errors.New("(?<...: not supported")
		}
		p.rest = rest
	case p.take("?"):
		on := true
		for {
			switch {
			case p.take("-"):
				on = false
				continue
			case p.take("i"):
				ignoreCase = on
				continue
			case p.take("m"):
				dotAll = on
				continue
			case p.take(")"): // for the rest of the surrounding group
				if strings.Contains(p.rest, "|") {
					return nil, errors.New("options in front of alternatives: not supported")
				}
				p.ignoreCase, p.dotAll = ignoreCase, dotAll
				return nil, nil
			case p.take(":"):
			default:
				return nil, fmt.Errorf("(?%.1s: not supported", p.rest)
			}
			break
		}
	}
	outer := [2]bool{p.ignoreCase, p.dotAll}
	p.ignoreCase, p.dotAll = ignoreCase, dotAll
	sub, err := p.alternatives()
	p.ignoreCase, p.dotAll = outer[0], outer[1]
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, errors.New("missing )")
	}
	out.subs = []*node{sub}
	return out, nil
}

// escape reads what follows a backslash, in or outside a class: a set, or, where
// that is nil, a rune.
func (p *parser) escape() (*set, rune, error) {
	if p.rest == "" {
		return nil, 0, errors.New("\\ at the end")
	}
	switch r := p.next(); r {
	case 's':
		return spaceSet(), 0, nil
	case 'S':
		return spaceSet().negate(), 0, nil
	case 'd':
		return digitSet(), 0, nil
	case 'D':
		return digitSet().negate(), 0, nil
	case 'w':
		return wordSet(), 0, nil
	case 'W':
		return wordSet().negate(), 0, nil
	case 'h':
		return hexSet(), 0, nil
	case 'H':
		return hexSet().negate(), 0, nil
	case 'p', 'P':
		s, err := p.property(r == 'P')
		return s, 0, err
	case 'n':
		return nil, '\n', nil
	case 'r':
		return nil, '\r', nil
	case 't':
		return nil, '\t', nil
	case 'f':
		return nil, '\f', nil
	case 'v':
		return nil, '\v', nil
	case 'a':
		return nil, '\a', nil
	case 'e':
		return nil, 0x1b, nil
	case 'x':
		if strings.HasPrefix(p.rest, "{") {
			body, rest, ok := strings.Cut(p.rest[1:], "}")
			v, err := strconv.ParseUint(body, 16, 32)
			if !ok || err != nil || v > unicode.MaxRune {
				return nil, 0, errors.New("\\x{...}: not a code point")
			}
			p.rest = rest
			return nil, rune(v), nil
		}
		r, err := p.hex(2)
		if err == nil && r > 127 {
			return nil, 0, errors.New("\\x above 7f: not supported") // a byte, not a code point
		}
		return nil, r, err
	case 'u':
		r, err := p.hex(4)
		return nil, r, err
	default:
		if r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return nil, 0, fmt.Errorf("\\%c: not supported", r)
		}
		return nil, r, nil
	}
}
