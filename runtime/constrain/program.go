package constrain

import "fmt"

// program is a pushdown automaton over bytes. It consists of rules; a rule is a nondeterministic
// automaton that may call other rules, as a production of a grammar does.
type program struct {
	states []state
	rules  []rule
}

// rule is an automaton from its first state to its last one.
type rule struct{ start, end int32 }

// state is a state of a rule.
type state struct {
	edges []edge
	empty []int32 // states that are reached without a byte
	calls []call
	end   bool // of its rule
}

// edge leads to another state by a byte from lo to hi.
type edge struct {
	lo, hi byte
	to     int32
}

// call goes through a rule and continues at a state.
type call struct{ rule, then int32 }

// maxStates bounds the size of a program, and by that the work of compiling a schema.
const maxStates = 1 << 15

// addState adds a state.
func (p *program) addState() int32 {
	p.states = append(p.states, state{})
	return int32(len(p.states) - 1)
}

// addRule adds a rule without a path from its start to its end.
func (p *program) addRule() int32 {
	r := rule{p.addState(), p.addState()}
	p.states[r.end].end = true
	p.rules = append(p.rules, r)
	return int32(len(p.rules) - 1)
}

// byteRange adds a path for one byte from lo to hi.
func (p *program) byteRange(from, to int32, lo, hi byte) {
	s := &p.states[from]
	s.edges = append(s.edges, edge{lo, hi, to})
}

// oneOf adds a path for each of some bytes.
func (p *program) oneOf(from, to int32, bytes string) {
	for i := range len(bytes) {
		p.byteRange(from, to, bytes[i], bytes[i])
	}
}

// literal adds a path for a text, which is not empty.
func (p *program) literal(from, to int32, text string) {
	for i := range len(text) {
		next := to
		if i+1 < len(text) {
			next = p.addState()
		}
		p.byteRange(from, next, text[i], text[i])
		from = next
	}
}

// literals adds paths for some texts, which are not empty. Those that begin alike share states, so
// that a text is at one place among any number of them.
func (p *program) literals(from, to int32, texts []string) {
	type path struct {
		from int32
		b    byte
		last bool
	}
	added := map[path]int32{}
	for _, text := range texts {
		at := from
		for i := range len(text) {
			x := path{at, text[i], i+1 == len(text)}
			next, ok := added[x]
			if !ok {
				if next = to; !x.last {
					next = p.addState()
				}
				p.byteRange(at, next, x.b, x.b)
				added[x] = next
			}
			at = next
		}
	}
}

// skip adds a path without a byte.
func (p *program) skip(from, to int32) {
	p.states[from].empty = append(p.states[from].empty, to)
}

// call adds a path through a rule.
func (p *program) call(from, to, rule int32) {
	p.states[from].calls = append(p.states[from].calls, call{rule, to})
}

// full reports whether the program has as many states as it may have.
func (p *program) full() bool { return len(p.states) > maxStates }

// trim removes what leads to no end, such as an object that must contain itself, so that
// every path can be completed. It reports whether anything is left of a rule.
func (p *program) trim(root int32) bool {
	users := make([][]int32, len(p.states)) // the states with a path to a state
	callers := make([][][2]int32, len(p.rules))
	for i, s := range p.states {
		for _, e := range s.edges {
			users[e.to] = append(users[e.to], int32(i))
		}
		for _, to := range s.empty {
			users[to] = append(users[to], int32(i))
		}
		for _, c := range s.calls {
			callers[c.rule] = append(callers[c.rule], [2]int32{int32(i), c.then})
		}
	}
	ends := make([]bool, len(p.states)) // whether a state leads to the end of its rule
	finite := make([]bool, len(p.rules))
	ruleOf := map[int32][]int32{} // the rules that begin with a state
	for i, r := range p.rules {
		ruleOf[r.start] = append(ruleOf[r.start], int32(i))
	}
	// A call is a path once both its rule and what follows it end.
	pending := map[int32][][2]int32{}
	for r, list := range callers {
		for _, c := range list {
			pending[c[1]] = append(pending[c[1]], [2]int32{c[0], int32(r)})
		}
	}
	var queue []int32
	mark := func(s int32) {
		if !ends[s] {
			ends[s] = true
			queue = append(queue, s)
		}
	}
	for _, r := range p.rules {
		mark(r.end)
	}
	for len(queue) > 0 {
		s := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, u := range users[s] {
			mark(u)
		}
		for _, c := range pending[s] {
			if finite[c[1]] {
				mark(c[0])
			}
		}
		for _, r := range ruleOf[s] {
			finite[r] = true
			for _, c := range callers[r] {
				if ends[c[1]] {
					mark(c[0])
				}
			}
		}
	}
	for i := range p.states {
		s := &p.states[i]
		s.edges = keep(s.edges, func(e edge) bool { return ends[e.to] })
		s.empty = keep(s.empty, func(to int32) bool { return ends[to] })
		s.calls = keep(s.calls, func(c call) bool { return finite[c.rule] && ends[c.then] })
	}
	return finite[root]
}

// keep gives the elements that a function holds for.
func keep[T any](list []T, is func(T) bool) []T {
	kept := list[:0]
	for _, x := range list {
		if is(x) {
			kept = append(kept, x)
		}
	}
	return kept
}

// checkRecursion returns an error where a rule can call itself before it has taken a byte, as a
// schema does that refers to itself.
func (p *program) checkRecursion() error {
	empty := p.emptyRules()
	const (
		unseen = iota
		active
		done
	)
	status := make([]uint8, len(p.rules))
	var visit func(r int32) error
	visit = func(r int32) error {
		switch status[r] {
		case active:
			return fmt.Errorf("a schema refers to itself without an object or array between")
		case done:
			return nil
		}
		status[r] = active
		seen := map[int32]bool{}
		var walk func(s int32) error
		walk = func(s int32) error {
			if seen[s] {
				return nil
			}
			seen[s] = true
			for _, to := range p.states[s].empty {
				if err := walk(to); err != nil {
					return err
				}
			}
			for _, c := range p.states[s].calls {
				if err := visit(c.rule); err != nil {
					return err
				}
				if empty[c.rule] {
					if err := walk(c.then); err != nil {
						return err
					}
				}
			}
			return nil
		}
		if err := walk(p.rules[r].start); err != nil {
			return err
		}
		status[r] = done
		return nil
	}
	for r := range p.rules {
		if err := visit(int32(r)); err != nil {
			return err
		}
	}
	return nil
}

// emptyRules says which rules can end without a byte.
func (p *program) emptyRules() []bool {
	empty := make([]bool, len(p.rules))
	for changed := true; changed; {
		changed = false
		for i, r := range p.rules {
			if !empty[i] && p.endsEmpty(r.start, empty, map[int32]bool{}) {
				empty[i], changed = true, true
			}
		}
	}
	return empty
}

func (p *program) endsEmpty(s int32, empty []bool, seen map[int32]bool) bool {
	if seen[s] {
		return false
	}
	seen[s] = true
	if p.states[s].end {
		return true
	}
	for _, to := range p.states[s].empty {
		if p.endsEmpty(to, empty, seen) {
			return true
		}
	}
	for _, c := range p.states[s].calls {
		if empty[c.rule] && p.endsEmpty(c.then, empty, seen) {
			return true
		}
	}
	return false
}
