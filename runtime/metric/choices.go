package metric

import (
	"context"
	"fmt"

	"mop/runtime/kvcache"
	"mop/runtime/model"
)

const (
	// choiceSlots is how many questions are in the KV cache at a time, where it has
	// room for them.
	choiceSlots = 128
	// choiceCacheBytes bounds that cache, unless one question alone needs more.
	choiceCacheBytes = 2 << 30
)

// Choices scores questions of several continuations each. It calls each with the
// log-likelihoods of a question's continuations, in nats, in the order of the questions.
//
// The tokens that all continuations of a question begin with, their contexts above all, are
// computed once: a prefix pass leaves their keys and values in the cache, then the
// continuations run one after the other from there. Each pass holds many questions.
func Choices(ctx context.Context, m *model.Model, questions [][]Continuation, each func(question int, sums []float64) error) error {
	list := make([]*choiceQuestion, len(questions))
	longest := 1
	for i, q := range questions {
		var err error
		if list[i], err = newChoiceQuestion(q); err != nil {
			return fmt.Errorf("question %d: %w", i, err)
		}
		longest = max(longest, list[i].longest())
	}
	cache, err := choiceCache(m, min(choiceSlots, max(1, len(questions))), longest)
	if err != nil {
		return err
	}
	defer cache.Close()
	for first := 0; first < len(list); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := admit(cache, list[first:])
		if err != nil {
			return err
		}
		r := choiceRun{m, cache, list[first : first+n]}
		if err := r.run(); err != nil {
			return fmt.Errorf("questions %d to %d: %w", first, first+n-1, err)
		}
		for i, q := range r.questions {
			if err := each(first+i, q.sums); err != nil {
				return err
			}
		}
		first += n
	}
	return nil
}

// choiceCache makes a cache of at most so many slots.
func choiceCache(m *model.Model, slots, longest int) (*kvcache.Cache, error) {
	o := kvcache.Options{Slots: slots, MaxPositions: longest}
	cache, err := kvcache.New(m.Device(), m.Config, o)
	if err != nil {
		return nil, err
	}
	o.MemoryLimit = max(choiceCacheBytes, cache.PageBytes()*int64(cache.PagesFor(longest)))
	cache.Close()
	return kvcache.New(m.Device(), m.Config, o)
}

// admit allocates slots for as many of the questions as the cache has room for, at least
// one. Question i gets slot i.
func admit(cache *kvcache.Cache, list []*choiceQuestion) (n int, err error) {
	cache.Reset()
	_, free := cache.Pages()
	for n < min(len(list), cache.Slots()) {
		if free -= cache.PagesFor(list[n].longest()); free < 0 && n > 0 {
			break
		}
		n++
	}
	_, err = cache.AllocN(n)
	return n, err
}

// choiceQuestion is a question on its way through the model.
type choiceQuestion struct {
	inputs [][]int // per continuation: all tokens but the last, which is only predicted
	first  []int   // per continuation: the first position that is scored
	tokens [][]int // per continuation: what is scored there and after
	shared int     // positions that all inputs have in common
	sums   []float64
}

func newChoiceQuestion(list []Continuation) (*choiceQuestion, error) {
	q := &choiceQuestion{sums: make([]float64, len(list))}
	for i, c := range list {
		if len(c.Context) == 0 || len(c.Tokens) == 0 {
			return nil, fmt.Errorf("continuation %d: want at least one token and one of context, got %d and %d", i, len(c.Tokens), len(c.Context))
		}
		all := append(append(make([]int, 0, len(c.Context)+len(c.Tokens)), c.Context...), c.Tokens...)
		q.inputs, q.first, q.tokens = append(q.inputs, all[:len(all)-1]), append(q.first, len(c.Context)-1), append(q.tokens, c.Tokens)
	}
	if len(list) > 0 {
		q.shared = len(q.inputs[0])
	}
	for _, in := range q.inputs {
		q.shared = min(q.shared, commonPrefix(in, q.inputs[0]))
	}
	return q, nil
}

func commonPrefix(a, b []int) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// longest is the number of positions that the question takes.
func (q *choiceQuestion) longest() int {
	n := 0
	for _, in := range q.inputs {
		n = max(n, len(in))
	}
	return n
}

// choiceRun scores the questions that are in the cache.
type choiceRun struct {
	m         *model.Model
	cache     *kvcache.Cache
	questions []*choiceQuestion // in the slot of their number
}

// part is a run of a question's tokens: those of its shared prefix (choice -1), or the rest
// of one choice.
type part struct{ question, choice int }

func (r *choiceRun) run() error {
	var prefixes []part
	rounds := 0
	for i, q := range r.questions {
		prefixes = append(prefixes, part{i, -1})
		rounds = max(rounds, len(q.inputs))
	}
	if err := r.passes(prefixes); err != nil {
		return err
	}
	for c := range rounds {
		var parts []part
		for i, q := range r.questions {
			if c < len(q.inputs) && len(q.inputs[c]) > q.shared {
				if err := r.cache.Truncate(i, q.shared); err != nil {
					return err
				}
				parts = append(parts, part{i, c})
			}
		}
		if err := r.passes(parts); err != nil {
			return err
		}
	}
	return nil
}

// passes runs the parts, as many in a pass as its rows allow.
func (r *choiceRun) passes(parts []part) error {
	for len(parts) > 0 {
		rows, n := 0, 0
		for ; n < len(parts); n++ {
			rows += len(r.tokens(parts[n]))
			if rows > r.m.PrefillRows() && n > 0 {
				break
			}
		}
		if err := r.pass(parts[:n]); err != nil {
			return err
		}
		parts = parts[n:]
	}
	return nil
}

// tokens are those of a part.
func (r *choiceRun) tokens(p part) []int {
	q := r.questions[p.question]
	if p.choice < 0 {
		if len(q.inputs) == 0 {
			return nil
		}
		return q.inputs[0][:q.shared]
	}
	return q.inputs[p.choice][q.shared:]
}

// pass runs parts in one pass and adds the log-likelihoods of the tokens that its rows
// predict to the sums.
func (r *choiceRun) pass(parts []part) error {
	var chunks []model.Chunk
	var rows, targets []int
	var sums []*float64
	at := 0 // the first row of the part
	for _, p := range parts {
		tokens, q := r.tokens(p), r.questions[p.question]
		chunks = append(chunks, model.Chunk{Slot: p.question, Tokens: tokens})
		start := r.cache.Len(p.question)
		for position := start; position < start+len(tokens); position++ {
			for c := range q.inputs {
				if p.choice >= 0 && p.choice != c || position < q.first[c] {
					continue
				}
				rows, targets, sums = append(rows, at+position-start), append(targets, q.tokens[c][position-q.first[c]]), append(sums, &q.sums[c])
			}
		}
		at += len(tokens)
	}
	if at == 0 {
		return nil
	}
	if err := r.m.Forward(model.Pass{Cache: r.cache, Chunks: chunks}); err != nil {
		return err
	}
	nll, err := r.m.NLL(rows, targets)
	for i, x := range nll {
		*sums[i] -= x
	}
	return err
}
