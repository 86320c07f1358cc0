package constrain

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// position is where a text can be in a program: a state, and the states to return to from the
// rules that are not at their ends yet.
type position struct {
	state int32
	stack *frame
}

// frame is the top of a stack of states. Equal stacks are the same frame, except across
// forgotten caches.
type frame struct {
	state int32
	below *frame // nil = the end of the text is behind it
	id    uint32
}

// configuration is the set of the positions of a text. The next ones are kept until the
// automaton forgets them.
type configuration struct {
	positions []position // with edges, in order
	complete  bool       // the text may end here

	kept uint64 // automaton.forgotten when next was computed
	next *[256]*configuration
	mask *mask
	fill *filling // the mask so far; nil = not begun, or done
}

// ErrTooComplex is returned where a text has more possible continuations than are followed.
var ErrTooComplex = errors.New("the schema has too many alternatives that begin alike")

// maxPositions bounds a configuration.
const maxPositions = 512

// How many configurations are kept, and how many positions and frames they have together.
const (
	maxConfigurations = 1024
	maxKeptSize       = 1 << 17
)

// computedWork is the work of following a position, in the unit that work is counted in: a step
// from a configuration to the next one that is kept already.
const computedWork = 4

// automaton computes configurations. It is not for concurrent use.
type automaton struct {
	p         *program
	frames    map[frameKey]*frame
	nextID    uint32
	kept      map[string]*configuration
	size      int    // positions of the configurations that are kept
	forgotten uint64 // how often everything that was kept was forgotten
	work      int    // of all steps so far

	dead *configuration // without continuations, of all texts that are none

	// Memory for a step.
	seen      map[position]bool
	positions []position
	complete  bool
	key       []byte
	ends      []bool // states that have nothing but the end of their rule
}

type frameKey struct {
	state int32
	below *frame
}

func newAutomaton(p *program) *automaton {
	a := &automaton{p: p, dead: &configuration{}, seen: map[position]bool{}, ends: make([]bool, len(p.states))}
	for i, s := range p.states {
		a.ends[i] = s.end && len(s.edges)+len(s.empty)+len(s.calls) == 0
	}
	a.forget()
	return a
}

// forget drops what is kept. Configurations that are in use stay valid.
func (a *automaton) forget() {
	a.frames, a.kept, a.size = map[frameKey]*frame{}, map[string]*configuration{}, 0
	a.forgotten++
}

// refresh drops what a configuration has kept where the automaton has forgotten it.
func (a *automaton) refresh(c *configuration) {
	if c.kept != a.forgotten {
		c.kept, c.next = a.forgotten, nil
	}
}

// start is the configuration of an empty text.
func (a *automaton) start(rule int32) (*configuration, error) {
	a.begin()
	if err := a.add(position{a.p.rules[rule].start, nil}); err != nil {
		return nil, err
	}
	return a.intern(), nil
}

// step is the configuration behind one more byte; that without positions where no text goes
// on with it.
func (a *automaton) step(c *configuration, b byte) (*configuration, error) {
	a.refresh(c)
	if c.next != nil && c.next[b] != nil {
		a.work++
		return c.next[b], nil
	}
	a.begin()
	defer func() { a.work += 1 + computedWork*(len(c.positions)+len(a.seen)) }()
	for _, x := range c.positions {
		for _, e := range a.p.states[x.state].edges {
			if e.lo <= b && b <= e.hi {
				if err := a.add(position{e.to, x.stack}); err != nil {
					return nil, err
				}
			}
		}
	}
	n := a.intern()
	a.refresh(c)
	if c.next == nil {
		c.next = new([256]*configuration)
	}
	c.next[b] = n
	return n, nil
}

func (a *automaton) begin() {
	clear(a.seen)
	a.positions, a.complete = a.positions[:0], false
}

// add takes in a position and those that are reached from it without a byte.
func (a *automaton) add(x position) error {
	if a.seen[x] {
		return nil
	}
	a.seen[x] = true
	if len(a.seen) > 4*maxPositions {
		return ErrTooComplex
	}
	s := &a.p.states[x.state]
	if len(s.edges) > 0 {
		if a.positions = append(a.positions, x); len(a.positions) > maxPositions {
			return ErrTooComplex
		}
	}
	for _, to := range s.empty {
		if err := a.add(position{to, x.stack}); err != nil {
			return err
		}
	}
	for _, c := range s.calls {
		stack := x.stack
		if !a.ends[c.then] {
			stack = a.frame(c.then, stack)
		} // else the rule's end is that of the caller's rule
		if err := a.add(position{a.p.rules[c.rule].start, stack}); err != nil {
			return err
		}
	}
	switch {
	case !s.end:
	case x.stack == nil:
		a.complete = true
	default:
		return a.add(position{x.stack.state, x.stack.below})
	}
	return nil
}

// frame is the stack with a state on another one.
func (a *automaton) frame(state int32, below *frame) *frame {
	key := frameKey{state, below}
	f := a.frames[key]
	if f == nil {
		a.nextID++
		f = &frame{state, below, a.nextID}
		a.frames[key] = f
	}
	return f
}

// intern gives the configuration of the positions that were added.
func (a *automaton) intern() *configuration {
	if len(a.positions) == 0 && !a.complete {
		return a.dead
	}
	slices.SortFunc(a.positions, func(x, y position) int {
		return cmp.Or(cmp.Compare(x.state, y.state), cmp.Compare(x.stack.number(), y.stack.number()))
	})
	a.key = a.key[:0]
	for _, x := range a.positions {
		a.key = binary.LittleEndian.AppendUint32(a.key, uint32(x.state))
		a.key = binary.LittleEndian.AppendUint32(a.key, x.stack.number())
	}
	if a.complete {
		a.key = append(a.key, 1)
	}
	if c := a.kept[string(a.key)]; c != nil {
		return c
	}
	if len(a.kept) >= maxConfigurations || a.size+len(a.frames) >= maxKeptSize {
		a.forget()
	}
	a.size += len(a.positions)
	c := &configuration{positions: slices.Clone(a.positions), complete: a.complete, kept: a.forgotten}
	a.kept[string(a.key)] = c
	return c
}

// number is a number of the stack that no other one has.
func (f *frame) number() uint32 {
	if f == nil {
		return 0
	}
	return f.id
}
