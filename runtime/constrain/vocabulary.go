package constrain

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// Vocabulary is the texts of a model's tokens as a trie. It may be used by many goroutines.
type Vocabulary struct {
	size   int
	texts  [][]byte // by token, nil = belongs to no text
	eos    []int
	nodes  []trieNode // of the trie, in preorder
	tokens []int32    // of the nodes, in their order
}

// trieNode is a byte behind those of the nodes above it.
type trieNode struct {
	b     byte
	depth uint16 // 1 = the first byte of a text
	from  int32  // its first token in Vocabulary.tokens; the next node's is the end
	end   int32  // the node behind those below it
}

// maxTokenBytes bounds the texts of tokens. Longer ones are never generated under a constraint.
const maxTokenBytes = 256

// NewVocabulary makes the vocabulary of a number of tokens. text gives the bytes that a token
// adds to a text; one without any, such as a control token, is never generated. The tokens of
// eos end a text.
func NewVocabulary(size int, text func(token int) []byte, eos []int) *Vocabulary {
	v := &Vocabulary{size: size, texts: make([][]byte, size), eos: slices.Clone(eos)}
	var order []int32
	for token := range size {
		if t := text(token); len(t) > 0 && len(t) <= maxTokenBytes && !slices.Contains(eos, token) {
			v.texts[token] = t
			order = append(order, int32(token))
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(bytes.Compare(v.texts[a], v.texts[b]), cmp.Compare(a, b))
	})
	var open []int32 // nodes of the last text
	closeTo := func(depth int) {
		for _, i := range open[depth:] {
			v.nodes[i].end = int32(len(v.nodes))
		}
		open = open[:depth]
	}
	var last []byte
	for _, token := range order {
		t := v.texts[token]
		common := 0
		for common < min(len(t), len(last)) && t[common] == last[common] {
			common++
		}
		closeTo(common)
		for i := common; i < len(t); i++ {
			open = append(open, int32(len(v.nodes)))
			v.nodes = append(v.nodes, trieNode{b: t[i], depth: uint16(i + 1), from: int32(len(v.tokens))})
		}
		v.tokens = append(v.tokens, token)
		last = t
	}
	closeTo(0)
	v.nodes = append(v.nodes, trieNode{from: int32(len(v.tokens))})
	return v
}

// mask is a set of tokens.
type mask struct {
	bits []uint64
	n    int // of the tokens in it
}

func (m *mask) add(token int) {
	m.bits[token/64] |= 1 << (token % 64)
	m.n++
}

// maxMaskWork bounds the work for one mask, in positions of configurations.
const maxMaskWork = 1 << 23

// ErrNoToken is returned where no token continues a text.
var ErrNoToken = errors.New("no token of the vocabulary continues the text as the schema wants it")

// maskOf gives the tokens that continue a text. The work for it does not depend on what is kept,
// so that a text always gives the same mask or the same error.
func (v *Vocabulary) maskOf(a *automaton, c *configuration) (*mask, error) {
	a.refresh(c)
	if c.mask != nil {
		return c.mask, nil
	}
	m := &mask{bits: make([]uint64, (v.size+63)/64)}
	if c.complete {
		for _, token := range v.eos {
			if token >= 0 && token < v.size {
				m.add(token)
			}
		}
	}
	var path [maxTokenBytes + 1]*configuration
	path[0] = c
	work := 0
	for i := 0; i < len(v.nodes)-1; {
		n := &v.nodes[i]
		above := path[n.depth-1]
		work += len(above.positions)
		if work > maxMaskWork {
			return nil, ErrTooComplex
		}
		next, err := a.step(above, n.b)
		if err != nil {
			return nil, err
		}
		if next == a.dead {
			i = int(n.end)
			continue
		}
		for _, token := range v.tokens[n.from:v.nodes[i+1].from] {
			m.add(int(token))
		}
		path[n.depth] = next
		i++
	}
	if m.n == 0 {
		return nil, ErrNoToken
	}
	a.refresh(c)
	c.mask = m
	return m, nil
}
