// Package constrain decides which tokens a model may generate so that its text becomes JSON of a
// schema (constrained decoding).
//
// A schema is compiled into a pushdown automaton over bytes. Behind a text, the tokens of the
// vocabulary whose bytes the automaton takes may follow; all others get no probability. What
// leads to no complete text is removed from the automaton beforehand, so that every text can be
// completed.
//
// The texts are some of those that the schema allows: members come in the order of the schema's
// properties, white space is short, and numbers have a limited number of digits.
package constrain

import (
	"math"
	"math/bits"
	"slices"
	"sync"
)

// Grammar is the texts of a schema in the tokens of a vocabulary. It may be used by many
// goroutines and keeps what it has computed for all of them.
type Grammar struct {
	v    *Vocabulary
	root int32

	mu    sync.Mutex
	a     *automaton
	start *configuration
}

// NewGrammar makes the grammar of a schema. It returns an error where no token of the vocabulary is
// the beginning of such a text, or the schema has too many alternatives. Where little work does not
// show that, Prepare and Restrict return the error.
func NewGrammar(s *Schema, v *Vocabulary) (*Grammar, error) {
	g := &Grammar{v: v, root: s.root, a: newAutomaton(&s.p)}
	var err error
	if g.start, err = g.a.start(s.root); err != nil {
		return nil, err
	}
	if _, err = v.fill(g.a, g.start, firstMaskWork); err != nil {
		return nil, err
	}
	return g, nil
}

// firstMaskWork is how much of the first mask NewGrammar computes. That is all of it for most
// schemas; the rest of the others is left to Prepare.
const firstMaskWork = 1 << 17

// Match begins a text.
func (g *Grammar) Match() *Match { return &Match{g: g, at: g.start} }

// Match is the text of one sequence. It is not for concurrent use.
type Match struct {
	g     *Grammar
	at    *configuration
	ended bool // by an EOS token
}

// Prepare computes which tokens may come next, until that is done or so much work was done. It
// reports whether Restrict has nothing left to compute, and how much work it did. Work is counted in
// transitions of the automaton by one byte, one that must be computed as several; it may exceed
// the limit by one such transition.
func (m *Match) Prepare(limit int) (done bool, work int, err error) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	before := m.g.a.work
	done, err = m.g.v.fill(m.g.a, m.at, limit)
	return done, m.g.a.work - before, err
}

// Restrict sets the logits of the tokens that must not come next to a value, such as negative
// infinity.   z [V]
func (m *Match) Restrict(z []float32, to float32) error {
	if _, _, err := m.Prepare(math.MaxInt); err != nil {
		return err
	}
	allowed := m.at.mask
	for i, word := range allowed.bits {
		for others := ^word; others != 0; others &= others - 1 {
			if token := 64*i + bits.TrailingZeros64(others); token < len(z) {
				z[token] = to
			}
		}
	}
	for i := 64 * len(allowed.bits); i < len(z); i++ { // of a padded vocabulary
		z[i] = to
	}
	return nil
}

// Accept adds a token to the text. It must be one that Restrict allows.
func (m *Match) Accept(token int) error {
	if slices.Contains(m.g.v.eos, token) {
		m.ended = true
		return nil
	}
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	at := m.at
	for _, b := range m.g.v.texts[token] {
		var err error
		if at, err = m.g.a.step(at, b); err != nil {
			return err
		}
	}
	m.at = at
	return nil
}

// Ended reports whether nothing can follow but the end of the text.
func (m *Match) Ended() bool { return m.ended || m.at.complete && len(m.at.positions) == 0 }
