package tokenizer

import (
	"cmp"
	"slices"
)

type pair struct{ a, b int32 }

// merge says that a pair becomes id; a lower rank goes first.
type merge struct{ rank, id int32 }

// candidate is a possible merge of the symbol at position left with its right
// neighbour.
type candidate struct {
	rank        int32
	left, right int32
	a, b        int32 // the symbols it was found for
	id          int32
}

// mergeAll joins neighbouring symbols until no pair is left that merges: always
// the pair of lowest rank, of equal ones the leftmost. A heap over a linked list
// makes it n log n.
func (t *Tokenizer) mergeAll(symbols []int) []int {
	n := len(symbols)
	if n < 2 {
		return symbols
	}
	id := make([]int32, n)
	next, prev := make([]int32, n), make([]int32, n)
	for i, s := range symbols {
		id[i], next[i], prev[i] = int32(s), int32(i+1), int32(i-1)
	}
	next[n-1] = -1
	var h heap
	try := func(l, r int32) {
		if l < 0 || r < 0 {
			return
		}
		if m, ok := t.merges[pair{id[l], id[r]}]; ok {
			h.push(candidate{m.rank, l, r, id[l], id[r], m.id})
		}
	}
	for i := int32(0); i < int32(n-1); i++ {
		try(i, i+1)
	}
	for len(h) > 0 {
		c := h.pop()
		if id[c.left] != c.a || id[c.right] != c.b || next[c.left] != c.right {
			continue // one of the two has been merged meanwhile
		}
		id[c.left], id[c.right] = c.id, -1
		next[c.left] = next[c.right]
		if next[c.left] >= 0 {
			prev[next[c.left]] = c.left
		}
		try(prev[c.left], c.left)
		try(c.left, next[c.left])
	}
	out := symbols[:0]
	for i := int32(0); i >= 0; i = next[i] {
		out = append(out, int(id[i]))
	}
	return out
}

// heap is a binary heap, lowest (rank, left) on top.
type heap []candidate

func (h heap) less(i, j int) bool {
	return h[i].rank < h[j].rank || h[i].rank == h[j].rank && h[i].left < h[j].left
}

func (h *heap) push(c candidate) {
	*h = append(*h, c)
	s := *h
	for i := len(s) - 1; i > 0 && s.less(i, (i-1)/2); i = (i - 1) / 2 {
		s[i], s[(i-1)/2] = s[(i-1)/2], s[i]
	}
}

func (h *heap) pop() candidate {
	s := *h
	top := s[0]
	s[0] = s[len(s)-1]
	s = s[:len(s)-1]
	for i := 0; 2*i+1 < len(s); {
		c := 2*i + 1
		if c+1 < len(s) && s.less(c+1, c) {
			c++
		}
		if !s.less(c, i) {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	*h = s
	return top
}

// mergesFromScores makes the merge table of vocabularies that give each piece a
// score instead of listing merges: any two pieces whose concatenation is a piece
// merge, the highest score first; equal scores share a rank.
func (t *Tokenizer) mergesFromScores(score func(id int) float64) {
	order := make([]int, 0, len(t.ids))
	for _, id := range t.ids {
		order = append(order, id)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(score(b), score(a)), cmp.Compare(a, b)) })
	rank := int32(0)
	for i, id := range order {
		if i > 0 && score(id) != score(order[i-1]) {
			rank++
		}
		p := string(t.pieces[id])
		for cut := 1; cut < len(p); cut++ {
			a, okA := t.ids[p[:cut]]
			b, okB := t.ids[p[cut:]]
			if okA && okB {
				t.merges[pair{int32(a), int32(b)}] = merge{rank, int32(id)}
			}
		}
	}
}
