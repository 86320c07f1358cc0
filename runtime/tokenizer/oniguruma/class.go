package oniguruma

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// hex reads exactly n hexadecimal digits.
func (p *parser) hex(n int) (rune, error) {
	if len(p.rest) < n {
		return 0, errors.New("truncated escape")
	}
	v, err := strconv.ParseUint(p.rest[:n], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not hexadecimal", p.rest[:n])
	}
	p.rest = p.rest[n:]
	return rune(v), nil
}

// property reads {name} or {^name}.
func (p *parser) property(negative bool) (*set, error) {
	if !p.take("{") {
		return nil, errors.New("\\p without {: not supported")
	}
	name, rest, ok := strings.Cut(p.rest, "}")
	if !ok {
		return nil, errors.New("\\p{ without }")
	}
	p.rest = rest
	if bare, ok := strings.CutPrefix(name, "^"); ok {
		name, negative = bare, !negative
	}
	s := propertySet(name)
	if s == nil {
		return nil, fmt.Errorf("\\p{%s}: not supported", name)
	}
	if negative {
		s = s.negate()
	}
	return s, nil
}

// bracket reads a class after its opening bracket: ranges, escapes, nested
// classes, POSIX brackets, and intersections with &&.
func (p *parser) bracket() (*set, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	defer func() { p.depth-- }()
	negative := p.take("^")
	var out *set    // the intersection of the parts before
	var part []*set // of the present part
	first := true
	for !p.take("]") || first && len(part) == 0 && out == nil {
		if strings.HasPrefix(p.rest, "]") || p.rest == "" && first {
			return nil, errors.New("an empty class")
		}
		first = false
		switch {
		case p.rest == "":
			return nil, errors.New("missing ]")
		case p.take("&&"):
			if len(part) == 0 {
				return nil, errors.New("nothing in front of &&")
			}
			out, part = meet(out, part), nil
		case p.take("[:"):
			name, rest, ok := strings.Cut(p.rest, ":]")
			if !ok {
				return nil, errors.New("[: without :]")
			}
			p.rest = rest
			bare, not := strings.CutPrefix(name, "^")
			s := propertySet(bare)
			if s == nil {
				return nil, fmt.Errorf("[:%s:]: not supported", name)
			}
			if not {
				s = s.negate()
			}
			part = append(part, s)
		case p.take("["):
			s, err := p.bracket()
			if err != nil {
				return nil, err
			}
			part = append(part, s)
		default:
			s, err := p.span()
			if err != nil {
				return nil, err
			}
			part = append(part, s)
		}
	}
	if len(part) == 0 {
		return nil, errors.New("an empty class")
	}
	s := meet(out, part)
	if p.ignoreCase {
		s = s.fold()
	}
	if negative {
		s = s.negate()
	}
	return s, nil
}

func meet(out *set, part []*set) *set {
	if out == nil {
		return union(part...)
	}
	return intersect(out, union(part...))
}

// span reads one rune, a range of runes, or an escape of a class.
func (p *parser) span() (*set, error) {
	s, low, err := p.classRune()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(p.rest, "-") || strings.HasPrefix(p.rest, "-]") {
		if s == nil {
			s = newSet([]runeRange{{low, low}})
		}
		return s, nil
	}
	if s != nil || strings.HasPrefix(p.rest, "-[") || strings.HasPrefix(p.rest, "-&&") {
		return nil, errors.New("a range without a beginning or an end: not supported")
	}
	p.take("-")
	s, high, err := p.classRune()
	if err != nil {
		return nil, err
	}
	if s != nil || high < low {
		return nil, errors.New("a range without an end")
	}
	return newSet([]runeRange{{low, high}}), nil
}

func (p *parser) classRune() (*set, rune, error) {
	if p.rest == "" {
		return nil, 0, errors.New("missing ]")
	}
	if p.take("\\") {
		if p.take("b") {
			return nil, '\b', nil
		}
		return p.escape()
	}
	return nil, p.next(), nil
}
