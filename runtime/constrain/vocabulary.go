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

// maxMaskWork bounds the positions that are followed for one mask.
const maxMaskWork = 1 << 23

// ErrNoToken is returned where no token continues a text.
var ErrNoToken = errors.New("no token of the vocabulary continues the text as the schema wants it")

// filling is a mask that is being computed, token by token in the order of the trie.
type filling struct {
	mask *mask
	node int // of the trie, that comes next
	path [maxTokenBytes + 1]*configuration
	work int // positions that were followed
}

// fill computes the mask of the tokens that continue a text until it is done, or until the
// automaton has done so much work; the next call goes on. Whether there is an error does not
// depend on what is kept, so that a text always gives the same mask or the same error.
func (v *Vocabulary) fill(a *automaton, c *configuration, work int) (done bool, err error) {
	if c.mask != nil {
		return true, nil
	}
	if c.fill == nil {
		c.fill = &filling{mask: v.endMask(c)}
		c.fill.path[0] = c
	}
	f := c.fill
	for start := a.work; f.node < len(v.nodes)-1; {
		if a.work-start >= work {
			return false, nil
		}
		n := &v.nodes[f.node]
		above := f.path[n.depth-1]
		if f.work += len(above.positions); f.work > maxMaskWork {
			return false, ErrTooComplex
		}
		next, err := a.step(above, n.b)
		if err != nil {
			return false, err
		}
		if next == a.dead {
			f.node = int(n.end)
			continue
		}
		f.work += len(next.positions)
		for _, token := range v.tokens[n.from:v.nodes[f.node+1].from] {
			f.mask.add(int(token))
		}
		f.path[n.depth] = next
		f.node++
	}
	if f.mask.n == 0 {
		return false, ErrNoToken
	}
	c.mask, c.fill = f.mask, nil
	return true, nil
}

// endMask is the mask of the tokens that end a text.
func (v *Vocabulary) endMask(c *configuration) *mask {
	m := &mask{bits: make([]uint64, (v.size+63)/64)}
	if c.complete {
		for _, token := range v.eos {
			if token >= 0 && token < v.size {
				m.add(token)
			}
		}
	}
	return m
}
