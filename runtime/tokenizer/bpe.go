package tokenizer

import (
	"cmp"
	"slices"
)

type pair struct{ a, b int32 }

// merge says which id a pair becomes; lower ranks merge first.
type merge struct{ rank, id int32 }

// symbol is a part of a word, linked to its neighbours by index.
type symbol struct {
	start, end int32 // bytes of the word
	prev, next int32 // none = -1
	id         int32 // none = -1: no piece
	frozen     bool  // never merges
	unk        bool  // stands for characters that are unknown
	dead       bool  // merged into the one before it
}

// candidate is a possible merge of the symbols left and right, the second of which
// ends at end. A symbol grows only to its right, by taking over its neighbour. A
// candidate is therefore out of date exactly when its right symbol is dead or has
// grown, or its left symbol is dead.
type candidate struct {
	rank, left, right, end int32
	id                     int32
}

// mergeAll merges neighbouring symbols until no pair is left that merges: always the
// pair of lowest rank, and the leftmost among equals. With a heap over a linked list
// its time is n log n.
func (e *encoder) mergeAll(text []byte) {
	if len(e.symbols) < 2 {
		return
	}
	e.queue = e.queue[:0]
	for i := range len(e.symbols) - 1 {
		if c, ok := e.candidate(text, int32(i), int32(i+1)); ok {
			e.queue = append(e.queue, c)
		}
	}
	e.queue.order()
	for len(e.queue) > 0 {
		c := e.queue.pop()
		l, r := &e.symbols[c.left], &e.symbols[c.right]
		if l.dead || r.dead || r.end != c.end || l.next != c.right {
			continue
		}
		l.id, l.end, l.next, l.unk = c.id, r.end, r.next, false
		r.dead = true
		if l.next >= 0 {
			e.symbols[l.next].prev = c.left
			if c, ok := e.candidate(text, c.left, l.next); ok {
				e.queue.push(c)
			}
		}
		if l.prev >= 0 {
			if c, ok := e.candidate(text, l.prev, c.left); ok {
				e.queue.push(c)
			}
		}
	}
}

// candidate looks for the merge of two neighbours.
func (e *encoder) candidate(text []byte, left, right int32) (candidate, bool) {
	e.pushed++
	m := &e.t.model
	l, r := &e.symbols[left], &e.symbols[right]
	if !m.byText {
		found, ok := m.pairs[pair{l.id, r.id}]
		return candidate{found.rank, left, right, r.end, found.id}, ok
	}
	if l.frozen || r.frozen || int(r.end-l.start) > m.longest {
		return candidate{}, false
	}
	id, ok := m.ids[string(text[l.start:r.end])]
	if !ok || m.rank[id] < 0 {
		return candidate{}, false
	}
	if m.unused != nil && m.unused[id] {
		if e.split == nil {
			e.split = map[string]int{}
		}
		e.split[string(text[l.start:r.end])] = int(l.end - l.start)
	}
	return candidate{m.rank[id], left, right, r.end, id}, true
}

// queue is a binary heap, lowest (rank, left) on top.
type queue []candidate

func (q queue) less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].left < q[j].left
}

func (q queue) order() {
	for i := len(q)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

func (q *queue) push(c candidate) {
	*q = append(*q, c)
	s := *q
	for i := len(s) - 1; i > 0 && s.less(i, (i-1)/2); i = (i - 1) / 2 {
		s[i], s[(i-1)/2] = s[(i-1)/2], s[i]
	}
}

func (q *queue) pop() candidate {
	s := *q
	top := s[0]
	s[0] = s[len(s)-1]
	*q = s[:len(s)-1]
	q.down(0)
	return top
}

func (q queue) down(i int) {
	for 2*i+1 < len(q) {
		c := 2*i + 1
		if c+1 < len(q) && q.less(c+1, c) {
			c++
		}
		if !q.less(c, i) {
			return
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}

// rankByScore sets the ranks of a vocabulary that gives each piece a score: the highest
// score has the lowest rank, and equal scores share one. Pieces for which never holds
// are not the result of a merge.
func (m *bpe) rankByScore(score []float64, never func(id int) bool) {
	m.byText, m.rank = true, make([]int32, len(score))
	order := make([]int, 0, len(m.ids))
	for i := range m.rank {
		m.rank[i] = none
	}
	for text, id := range m.ids {
		m.longest = max(m.longest, len(text))
		if !never(int(id)) {
			order = append(order, int(id))
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(score[b], score[a]) })
	rank := int32(0)
	for i, id := range order {
		if i > 0 && score[id] != score[order[i-1]] {
			rank++
		}
		m.rank[id] = rank
	}
}
