package tokenizer

import (
	"math"
	"slices"
	"unicode/utf8"

	"mop/runtime/tokenizer/sentencepiece"
)

// unknownPenalty is how much an unknown character scores below the lowest score.
const unknownPenalty = 10

// unigram is a vocabulary in which the pieces of a text are those with the highest
// sum of scores.
type unigram struct {
	pieces  trie
	scores  []float64 // by id
	unknown float64   // the score of an unknown character
	single  bool      // sums are rounded to float32, as SentencePiece does
}

// step is the best way to reach a position of a text.
type step struct {
	score float64
	start int32 // where its last piece begins; none = not reached
	id    int32 // of that piece; none = unknown
}

// sentencePieceUnigram takes the pieces that text can become from a model file.
func sentencePieceUnigram(f *sentencepiece.Model) *unigram {
	u := &unigram{scores: make([]float64, len(f.Pieces)), single: true}
	lowest, highest := float32(math.MaxFloat32), float32(0x1p-126)
	for _, p := range f.Pieces {
		if p.Type == sentencepiece.Normal {
			lowest, highest = min(lowest, p.Score), max(highest, p.Score)
		}
	}
	for id, p := range f.Pieces {
		u.scores[id] = float64(p.Score)
		switch p.Type {
		case sentencepiece.UserDefined: // SentencePiece lets such a piece always win
			u.scores[id] = float64(float32(len(p.Text))*highest) - 0.1
			u.pieces.add(p.Text, int32(id))
		case sentencepiece.Normal:
			u.pieces.add(p.Text, int32(id))
		}
	}
	u.unknown = float64(lowest - unknownPenalty)
	return u
}

// best appends the ids of the best segmentation of a word. Its time is linear in the
// text times the longest piece.
func (e *encoder) best(text []byte) error {
	u, m := e.t.unigram, &e.t.model
	e.steps = slices.Grow(e.steps[:0], len(text)+1)[:len(text)+1]
	for i := range e.steps {
		e.steps[i].start = none
	}
	e.steps[0] = step{}
	reach := func(from, to int, score float64, id int32) {
		sum := score + e.steps[from].score
		if u.single {
			sum = float64(float32(sum))
		}
		if s := &e.steps[to]; s.start == none || sum > s.score {
			*s = step{sum, int32(from), id}
		}
	}
	for at := 0; at < len(text); {
		_, size := utf8.DecodeRune(text[at:])
		single := false
		u.pieces.prefixes(text[at:], func(n int, id int32) {
			reach(at, at+n, u.scores[id], id)
			single = single || n == size
		})
		if !single {
			reach(at, at+size, u.unknown, none)
		}
		at += size
	}
	e.path = e.path[:0]
	for at := len(text); at > 0; at = int(e.steps[at].start) {
		e.path = append(e.path, int32(at))
	}
	begin := 0
	for i := len(e.path) - 1; i >= 0; i-- {
		end := int(e.path[i])
		id := e.steps[end].id
		unknown := id == none || int(id) == m.unk
		// Unknown characters in a row are one unknown text.
		for unknown && i > 0 {
			next := e.steps[e.path[i-1]].id
			if next != none && int(next) != m.unk {
				break
			}
			i--
			end = int(e.path[i])
		}
		if unknown {
			var known bool
			if id, known = m.ids[string(text[begin:end])]; !known {
				fused := false
				if err := e.unknown(text[begin:end], &fused); err != nil {
					return err
				}
				begin = end
				continue
			}
		}
		e.ids = append(e.ids, int(id))
		begin = end
	}
	return nil
}
