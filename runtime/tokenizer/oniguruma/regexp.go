// Package oniguruma matches the regular expressions of tokenizer.json files. The
// tokenizers library matches them with the Oniguruma library; this package has the
// same results for the subset of the syntax that it accepts, and refuses the rest.
//
// Matching is backtracking over a program, but no state is tried twice at the same
// position of a match, so the time of one match is linear in the text that it
// examines.
package oniguruma

import (
	"errors"
	"unicode/utf8"
)

// maxProgram bounds a compiled pattern, in instructions.
const maxProgram = 1 << 14

type opcode uint8

const (
	opSet    opcode = iota // one rune of set
	opSplit                // continue at next; at other if that fails
	opJump                 // continue at next
	opAtomic               // the program at other, then next
	opLook                 // the program at other matches here (or not, if negative), then next
	opBehind               // the same, size runes before
	opAssert
	opMatch
)

type instruction struct {
	op       opcode
	negative bool
	assert   assert
	set      *set
	next     int32
	other    int32
	size     int32 // opBehind: runes; opSplit: its number among the splits
}

// Regexp is a compiled pattern. It is read-only; each goroutine needs a Matcher.
type Regexp struct {
	program []instruction
	start   int32
	splits  int32
	word    *set
	first   *set // the runes that a match can begin with; nil = not known
}

// Compile parses a pattern. What is not supported is an error.
func Compile(pattern string) (*Regexp, error) {
	n, err := parse(pattern)
	if err != nil {
		return nil, err
	}
	re := &Regexp{word: bareWordSet()}
	end, err := re.add(instruction{op: opMatch})
	if err != nil {
		return nil, err
	}
	if re.start, err = re.emit(n, end); err != nil {
		return nil, err
	}
	if s, empty := first(n); !empty {
		re.first = s
	}
	return re, nil
}

func (re *Regexp) add(i instruction) (int32, error) {
	if len(re.program) >= maxProgram {
		return 0, errors.New("too long")
	}
	if i.op == opSplit {
		i.size = re.splits
		re.splits++
	}
	re.program = append(re.program, i)
	return int32(len(re.program) - 1), nil
}

// emit appends the program of a node that continues at next, and returns its
// first instruction.
func (re *Regexp) emit(n *node, next int32) (at int32, err error) {
	switch n.kind {
	case matchSet:
		return re.add(instruction{op: opSet, set: n.set, next: next})
	case assertion:
		return re.add(instruction{op: opAssert, assert: n.assert, next: next})
	case concat:
		for i := len(n.subs) - 1; i >= 0; i-- {
			if next, err = re.emit(n.subs[i], next); err != nil {
				return 0, err
			}
		}
		return next, nil
	case alternate:
		at, err = re.emit(n.subs[len(n.subs)-1], next)
		for i := len(n.subs) - 2; i >= 0 && err == nil; i-- {
			var branch int32
			if branch, err = re.emit(n.subs[i], next); err == nil {
				at, err = re.add(instruction{op: opSplit, next: branch, other: at})
			}
		}
		return at, err
	case atomic, lookAhead:
		end, err := re.add(instruction{op: opMatch})
		if err != nil {
			return 0, err
		}
		sub, err := re.emit(n.subs[0], end)
		if err != nil {
			return 0, err
		}
		if n.kind == atomic {
			return re.add(instruction{op: opAtomic, other: sub, next: next})
		}
		return re.add(instruction{op: opLook, negative: n.negative, other: sub, next: next})
	case lookBehind:
		size, ok := fixedSize(n.subs[0])
		if !ok {
			return 0, errors.New("a lookbehind of variable length: not supported")
		}
		end, err := re.add(instruction{op: opMatch})
		if err != nil {
			return 0, err
		}
		sub, err := re.emit(n.subs[0], end)
		if err != nil {
			return 0, err
		}
		return re.add(instruction{op: opBehind, negative: n.negative, size: int32(size), other: sub, next: next})
	}
	return re.emitRepeat(n, next)
}

func (re *Regexp) emitRepeat(n *node, next int32) (at int32, err error) {
	sub := n.subs[0]
	at = next
	split := func(body int32) instruction {
		if n.lazy {
			return instruction{op: opSplit, next: next, other: body}
		}
		return instruction{op: opSplit, next: body, other: next}
	}
	if n.max < 0 {
		if _, empty := first(sub); empty {
			return 0, errors.New("an unbounded repetition of what can be empty: not supported")
		}
		if at, err = re.add(split(0)); err != nil {
			return 0, err
		}
		body, err := re.emit(sub, at)
		if err != nil {
			return 0, err
		}
		if n.lazy {
			re.program[at].other = body
		} else {
			re.program[at].next = body
		}
	} else {
		for range n.max - n.min {
			body, err := re.emit(sub, at)
			if err != nil {
				return 0, err
			}
			if at, err = re.add(split(body)); err != nil {
				return 0, err
			}
		}
	}
	for range n.min {
		if at, err = re.emit(sub, at); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// first is the set of runes that a match of the node can begin with, and whether it
// can match the empty text.
func first(n *node) (s *set, empty bool) {
	switch n.kind {
	case matchSet:
		return n.set, false
	case concat:
		s, empty = newSet(nil), true
		for _, sub := range n.subs {
			if !empty {
				break
			}
			var t *set
			t, empty = first(sub)
			s = union(s, t)
		}
		return s, empty
	case alternate:
		s = newSet(nil)
		for _, sub := range n.subs {
			t, e := first(sub)
			s, empty = union(s, t), empty || e
		}
		return s, empty
	case repeat:
		s, empty = first(n.subs[0])
		return s, empty || n.min == 0
	case atomic:
		return first(n.subs[0])
	}
	return newSet(nil), true // conditions take nothing
}

// fixedSize is the number of runes that every match of a node has.
func fixedSize(n *node) (int, bool) {
	switch n.kind {
	case matchSet:
		return 1, true
	case concat:
		total := 0
		for _, sub := range n.subs {
			size, ok := fixedSize(sub)
			if !ok {
				return 0, false
			}
			total += size
		}
		return total, true
	case alternate:
		size, ok := fixedSize(n.subs[0])
		for _, sub := range n.subs[1:] {
			if other, okOther := fixedSize(sub); !okOther || other != size {
				return 0, false
			}
		}
		return size, ok
	case repeat:
		size, ok := fixedSize(n.subs[0])
		return size * n.min, ok && n.min == n.max
	case atomic:
		return fixedSize(n.subs[0])
	}
	return 0, true
}

// Matcher finds matches of one Regexp in texts, one after the other.
type Matcher struct {
	re      *Regexp
	stack   []thread
	visited []uint64 // a bit for each split at each position from the start of a match
	inner   *Matcher // for the programs of opAtomic and of lookarounds
	steps   int      // instructions executed
}

type thread struct{ at, pos int32 }

// Matcher returns a new matcher.
func (re *Regexp) Matcher() *Matcher { return &Matcher{re: re} }

// Steps is the number of instructions that the matcher has executed.
func (m *Matcher) Steps() int { return m.steps }

// Find is the leftmost match at or after from, as offsets in text, which is at most
// 1 GiB long. A byte that is not UTF-8 counts as U+FFFD.
func (m *Matcher) Find(text []byte, from int) (start, end int, ok bool) {
	for start = from; start <= len(text); {
		r, n := rune(-1), 1
		if start < len(text) {
			r, n = utf8.DecodeRune(text[start:])
		}
		if m.re.first == nil || r >= 0 && m.re.first.has(r) {
			if end, ok := m.run(text, m.re.start, start); ok {
				return start, end, true
			}
		}
		start += n
	}
	return 0, 0, false
}

// FindAll lists the matches that do not overlap, from the left.
func (m *Matcher) FindAll(text []byte, each func(start, end int)) {
	last := -1
	for from := 0; from <= len(text); {
		start, end, ok := m.Find(text, from)
		if !ok {
			return
		}
		from = end
		if start == end {
			_, n := utf8.DecodeRune(text[end:])
			from = end + max(n, 1)
			if start == last { // an empty match right behind another match does not count
				continue
			}
		}
		last = end
		each(start, end)
	}
}

// run matches the program that begins at an instruction, from one position.
func (m *Matcher) run(text []byte, at int32, start int) (end int, ok bool) {
	m.stack = append(m.stack[:0], thread{at, int32(start)})
	touched := 0
	defer func() { clear(m.visited[:touched]) }()
	for len(m.stack) > 0 {
		t := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
	thread:
		for pos := int(t.pos); ; {
			m.steps++
			i := &m.re.program[t.at]
			switch i.op {
			case opMatch:
				return pos, true
			case opSet:
				if pos == len(text) {
					break thread
				}
				r, n := rune(text[pos]), 1
				if r >= utf8.RuneSelf {
					r, n = utf8.DecodeRune(text[pos:])
				}
				if !i.set.has(r) {
					break thread
				}
				pos += n
			case opSplit:
				bit := (pos-start)*int(m.re.splits) + int(i.size)
				word := bit / 64
				if word >= touched {
					if word >= len(m.visited) {
						m.visited = append(m.visited, make([]uint64, word+64-len(m.visited)+len(m.visited)/2)...)
					}
					touched = word + 1
				}
				if m.visited[word]>>(bit%64)&1 != 0 {
					break thread
				}
				m.visited[word] |= 1 << (bit % 64)
				m.stack = append(m.stack, thread{i.other, int32(pos)})
			case opAtomic, opLook, opBehind:
				from, possible := pos, true
				if i.op == opBehind {
					for range i.size {
						_, n := utf8.DecodeLastRune(text[:from])
						from, possible = from-n, possible && n > 0
					}
				}
				if m.inner == nil {
					m.inner = &Matcher{re: m.re}
				}
				found := 0
				if possible {
					found, possible = m.inner.run(text, i.other, from)
					m.steps, m.inner.steps = m.steps+m.inner.steps, 0
				}
				if possible == i.negative {
					break thread
				}
				if i.op == opAtomic {
					pos = found
				}
			case opAssert:
				if !m.holds(i.assert, text, pos) {
					break thread
				}
			}
			t.at = i.next
		}
	}
	return 0, false
}

// holds evaluates a condition on a position.
func (m *Matcher) holds(a assert, text []byte, pos int) bool {
	switch a {
	case lineBegin:
		return pos == 0 || text[pos-1] == '\n' && pos < len(text)
	case lineEnd:
		return pos == len(text) || text[pos] == '\n'
	case textBegin:
		return pos == 0
	case textEnd:
		return pos == len(text)
	case textEndOrNewline:
		return pos == len(text) || pos == len(text)-1 && text[pos] == '\n'
	}
	before, n := utf8.DecodeLastRune(text[:pos])
	after, k := utf8.DecodeRune(text[pos:])
	boundary := (n > 0 && m.re.word.has(before)) != (k > 0 && m.re.word.has(after))
	return boundary == (a == wordBoundary)
}
