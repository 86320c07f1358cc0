package constrain

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode"
)

// maxPatternBytes bounds a regular expression.
const maxPatternBytes = 1024

// patternCompiler adds the paths of the strings in which a regular expression occurs.
type patternCompiler struct {
	*compiler
	prog   *syntax.Prog
	states map[patternPlace]int32
	end    int32         // behind the string
	tails  map[int]int32 // behind an occurrence, where any characters may follow, by patternPlace.n

	// The number of characters of a string; most is -1 where there is no limit.
	least, most int
}

// patternPlace is a place in the regular expression's program.
type patternPlace struct {
	pc    uint32
	begin bool // no character came yet
	ended bool // no character may follow
	n     int  // characters so far, as far as they make a difference
}

// pattern adds the paths of a regular expression, which may match anywhere in a string of at least
// and at most so many characters.
func (c *compiler) pattern(from, to int32, expression string, least, most int) error {
	if len(expression) > maxPatternBytes {
		return fmt.Errorf("want at most %d bytes, got %d", maxPatternBytes, len(expression))
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return fmt.Errorf("the regular expression is wrong or not supported: %w", err)
	}
	parsed = parsed.Simplify()
	prog, err := syntax.Compile(parsed)
	if err != nil {
		return err
	}
	if low, high := lengths(parsed); anchored(parsed) && low >= least && high >= 0 && (most < 0 || high <= most) {
		least, most = 0, -1 // which every match has
	}
	p := &patternCompiler{compiler: c, prog: prog, states: map[patternPlace]int32{}, tails: map[int]int32{}, end: to, least: least, most: most}
	start, err := p.at(patternPlace{pc: uint32(prog.Start), begin: true})
	if err != nil {
		return err
	}
	c.p.skip(from, start)
	// Characters may come in front of an occurrence.
	for n := 0; ; {
		next, ok := p.more(n)
		if !ok {
			return nil
		}
		before := c.p.addState()
		p.anyCharacter(from, before)
		later, err := p.at(patternPlace{pc: uint32(prog.Start), n: next})
		if err != nil {
			return err
		}
		c.p.skip(before, later)
		if next == n {
			p.anyCharacter(before, before)
			return nil
		}
		from, n = before, next
	}
}

// more counts one more character. It reports whether there may be one.
func (p *patternCompiler) more(n int) (next int, ok bool) {
	if p.most < 0 {
		return min(n+1, p.least), true
	}
	return n + 1, n < p.most
}

// tail gives the state behind an occurrence and n characters.
func (p *patternCompiler) tail(n int) int32 {
	if s, ok := p.tails[n]; ok {
		return s
	}
	s := p.p.addState()
	p.tails[n] = s
	if n >= p.least {
		p.p.skip(s, p.end)
	}
	if next, ok := p.more(n); ok {
		p.anyCharacter(s, p.tail(next))
	}
	return s
}

// anchored reports whether a regular expression matches whole strings only.
func anchored(r *syntax.Regexp) bool {
	return r.Op == syntax.OpConcat && r.Sub[0].Op == syntax.OpBeginText && r.Sub[len(r.Sub)-1].Op == syntax.OpEndText
}

// lengths gives the least and the most characters that a simplified regular expression matches, -1
// = there is no limit.
func lengths(r *syntax.Regexp) (least, most int) {
	switch r.Op {
	case syntax.OpLiteral:
		return len(r.Rune), len(r.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, 1
	case syntax.OpCapture:
		return lengths(r.Sub[0])
	case syntax.OpQuest:
		_, most = lengths(r.Sub[0])
		return 0, most
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
		return 0, -1
	case syntax.OpConcat:
		for _, s := range r.Sub {
			a, b := lengths(s)
			if least += a; most < 0 || b < 0 {
				most = -1
			} else {
				most += b
			}
		}
	case syntax.OpAlternate:
		least = -1
		for _, s := range r.Sub {
			a, b := lengths(s)
			if least < 0 || a < least {
				least = a
			}
			if most < 0 || b < 0 {
				most = -1
			} else {
				most = max(most, b)
			}
		}
	}
	return least, most
}

// anyCharacter adds the paths of one character.
func (c *compiler) anyCharacter(from, to int32) {
	c.plain(from, to, nil)
	c.p.call(from, to, c.unplain())
}

// at gives the state of a place.
func (p *patternCompiler) at(x patternPlace) (int32, error) {
	if s, ok := p.states[x]; ok {
		return s, nil
	}
	if p.p.full() {
		return 0, errTooLarge
	}
	from := p.p.addState()
	p.states[x] = from
	inst := &p.prog.Inst[x.pc]
	skip := func(x patternPlace) error {
		to, err := p.at(x)
		if err == nil {
			p.p.skip(from, to)
		}
		return err
	}
	out := x
	out.pc = inst.Out
	switch inst.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		other := x
		other.pc = inst.Arg
		if err := skip(out); err != nil {
			return 0, err
		}
		return from, skip(other)
	case syntax.InstCapture, syntax.InstNop:
		return from, skip(out)
	case syntax.InstEmptyWidth:
		switch syntax.EmptyOp(inst.Arg) {
		case syntax.EmptyBeginText:
			if x.begin {
				return from, skip(out)
			}
			return from, nil
		case syntax.EmptyEndText:
			out.ended = true
			return from, skip(out)
		}
		return 0, errors.New("word boundaries and the beginnings and ends of lines are not supported")
	case syntax.InstMatch:
		if !x.ended {
			p.p.skip(from, p.tail(x.n))
		} else if x.n >= p.least {
			p.p.skip(from, p.end)
		}
		return from, nil
	case syntax.InstFail:
		return from, nil
	}
	n, ok := p.more(x.n)
	if x.ended || !ok {
		return from, nil
	}
	to, err := p.at(patternPlace{pc: inst.Out, n: n})
	if err != nil {
		return 0, err
	}
	for _, r := range runesOf(inst) {
		p.characters(from, to, r[0], r[1])
	}
	return from, nil
}

// runesOf lists the characters of an instruction as ranges.
func runesOf(inst *syntax.Inst) (ranges [][2]rune) {
	switch inst.Op {
	case syntax.InstRuneAny:
		return [][2]rune{{0, unicode.MaxRune}}
	case syntax.InstRuneAnyNotNL: // of JavaScript, whose . leaves out more than one line end
		return [][2]rune{{0, '\n' - 1}, {'\n' + 1, '\r' - 1}, {'\r' + 1, 0x2027}, {0x202a, unicode.MaxRune}}
	}
	if len(inst.Rune) == 1 {
		r := inst.Rune[0]
		ranges = [][2]rune{{r, r}}
		if syntax.Flags(inst.Arg)&syntax.FoldCase != 0 {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				ranges = append(ranges, [2]rune{f, f})
			}
		}
		return ranges
	}
	for i := 0; i+1 < len(inst.Rune); i += 2 {
		ranges = append(ranges, [2]rune{inst.Rune[i], inst.Rune[i+1]})
	}
	return ranges
}

// characters adds the paths of the characters from lo to hi as they are written in a string.
func (c *compiler) characters(from, to int32, lo, hi rune) {
	const named = "\b\f\n\r\t"
	for r := lo; r <= min(hi, 0x1f); r++ {
		if i := strings.IndexRune(named, r); i >= 0 {
			c.p.literal(from, to, `\`+"bfnrt"[i:i+1])
		} else {
			c.p.literal(from, to, fmt.Sprintf(`\u%04x`, r))
		}
	}
	for _, r := range `"\` {
		if lo <= r && r <= hi {
			c.p.literal(from, to, `\`+string(r))
		}
	}
	for _, part := range [][2]rune{{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, 0xd7ff}, {0xe000, unicode.MaxRune}} {
		if a, b := max(lo, part[0]), min(hi, part[1]); a <= b {
			c.utf8Range(from, to, a, b)
		}
	}
}
