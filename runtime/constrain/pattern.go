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
	end    int32 // behind the string
	tail   int32 // behind an occurrence, where any characters may follow; -1 = not made yet
}

// patternPlace is a place in the regular expression's program.
type patternPlace struct {
	pc    uint32
	begin bool // no character came yet
	ended bool // no character may follow
}

// pattern adds the paths of a regular expression, which may match anywhere in a string.
func (c *compiler) pattern(from, to int32, expression string) error {
	if len(expression) > maxPatternBytes {
		return fmt.Errorf("want at most %d bytes, got %d", maxPatternBytes, len(expression))
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return fmt.Errorf("the regular expression is wrong or not supported: %w", err)
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return err
	}
	p := &patternCompiler{compiler: c, prog: prog, states: map[patternPlace]int32{}, end: to, tail: -1}
	start, err := p.at(patternPlace{pc: uint32(prog.Start), begin: true})
	if err != nil {
		return err
	}
	later, err := p.at(patternPlace{pc: uint32(prog.Start)})
	if err != nil {
		return err
	}
	c.p.skip(from, start)
	before := c.p.addState() // behind characters in front of an occurrence
	p.anyCharacter(from, before)
	p.anyCharacter(before, before)
	c.p.skip(before, later)
	return nil
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
		if x.ended {
			p.p.skip(from, p.end)
			return from, nil
		}
		if p.tail < 0 {
			p.tail = p.p.addState()
			p.anyCharacter(p.tail, p.tail)
			p.p.skip(p.tail, p.end)
		}
		p.p.skip(from, p.tail)
		return from, nil
	case syntax.InstFail:
		return from, nil
	}
	if x.ended {
		return from, nil
	}
	to, err := p.at(patternPlace{pc: inst.Out})
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
