package generate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// Speculative decoding (Leviathan, Kalman, Matias, "Fast Inference from Transformers via
// Speculative Decoding", ICML 2023): a smaller model, the draft, proposes some tokens, and one
// pass of the model itself checks all of them. Without a temperature a proposed token is
// accepted if it is the model's own choice, so that the text is the model's own. With one it
// is accepted with probability min(1, p/q), p and q being the two models' probabilities of
// it; a token that is refused is replaced by a sample from max(p-q, 0), so that the text has
// the model's own distribution.

// Draft is the model that proposes tokens, with the memory for its sequence.
type Draft struct {
	Model  *model.Model
	Cache  *kvcache.Cache // of one slot
	Tokens int            // proposed at a time; 0 = chosen from acceptance and times as they are measured
}

// Speculation says how the proposals fared.
type Speculation struct {
	Drafted  int // tokens that the draft proposed
	Accepted int // of these
	Passes   int // of the model over proposals
}

// Acceptance is the share of the proposed tokens that was accepted, 0 where there were none.
func (s Speculation) Acceptance() float64 {
	if s.Drafted == 0 {
		return 0
	}
	return float64(s.Accepted) / float64(s.Drafted)
}

// MaxDraft bounds how many tokens are proposed at a time.
const MaxDraft = 8

// RunSpeculative is Run for one prompt, with a draft of the same vocabulary. The cache has one
// slot. emit is called with each token and returns whether the sequence ends. Without a
// temperature the tokens are those of Run, bit by bit.
func RunSpeculative(ctx context.Context, m *model.Model, cache *kvcache.Cache, draft Draft, prompt []int, o Options, emit func(token int) (done bool)) (Speculation, error) {
	s := &speculation{ctx: ctx, emit: emit, o: o, target: &speculator{m: m, cache: cache}, draft: &speculator{m: draft.Model, cache: draft.Cache}, tokens: draft.Tokens, rate: 0.7}
	if err := s.check(prompt); err != nil || o.MaxTokens <= 0 {
		return s.stats, err
	}
	for _, x := range []*speculator{s.target, s.draft} {
		x.cache.Reset()
		defer x.cache.Reset()
		if _, err := x.cache.Alloc(); err != nil {
			return s.stats, err
		}
		x.sampler = NewSampler(o.SamplingParams, 0, prompt)
	}
	s.text = slices.Clone(prompt)
	first, err := s.prefill(prompt)
	if err != nil {
		return s.stats, err
	}
	more := s.accept(first)
	for more && err == nil {
		if err = ctx.Err(); err == nil {
			more, err = s.round()
		}
	}
	if errors.Is(err, model.ErrContext) {
		err = fmt.Errorf("after %d tokens: %w", s.emitted, err)
	}
	return s.stats, err
}

// speculator is one of the two models.
type speculator struct {
	m       *model.Model
	cache   *kvcache.Cache
	sampler *Sampler
	step    time.Duration // mean time of a pass, as measured so far
}

// speculation is the state of a run.
type speculation struct {
	ctx           context.Context
	emit          func(token int) bool
	o             Options
	target, draft *speculator
	text          []int // prompt and tokens
	tokens        int   // proposed at a time; 0 = chosen by measurement
	rate          float64
	emitted       int
	stats         Speculation
}

func (s *speculation) check(prompt []int) error {
	a, b := s.target.m.Config, s.draft.m.Config
	switch {
	case a.VocabSize != b.VocabSize:
		return fmt.Errorf("draft: want a vocabulary of %d tokens as the model has, got %d", a.VocabSize, b.VocabSize)
	case len(prompt) == 0:
		return errors.New("prompt: no tokens")
	case len(s.o.Embeddings) > 0:
		return errors.New("draft: want a prompt of tokens only, got embeddings")
	case s.tokens < 0 || s.tokens > MaxDraft:
		return fmt.Errorf("draft: want 0 to %d tokens at a time, got %d", MaxDraft, s.tokens)
	}
	for _, x := range []*speculator{s.target, s.draft} {
		if limit := min(x.cache.MaxPositions, x.m.Config.MaxPositions); len(prompt) > limit {
			return fmt.Errorf("prompt of %d tokens: %w of %d", len(prompt), model.ErrContext, limit)
		}
	}
	return s.o.Check()
}

// prefill computes the prompt with both models and chooses the first token.
func (s *speculation) prefill(prompt []int) (token int, err error) {
	for _, x := range []*speculator{s.draft, s.target} {
		for part := range slices.Chunk(prompt, x.m.PrefillRows()) {
			if err := s.ctx.Err(); err != nil {
				return 0, err
			}
			if err := x.m.Forward(model.Pass{Cache: x.cache, Chunks: []model.Chunk{{Tokens: part}}, LastOnly: true}); err != nil {
				return 0, err
			}
		}
	}
	err = s.target.m.Logits([]int{0}, func(_ int, z []float32) (err error) {
		token, err = s.target.sampler.Next(z)
		return err
	})
	return token, err
}

// accept adds a token to the text and reports whether the sequence goes on.
func (s *speculation) accept(token int) bool {
	s.text = append(s.text, token)
	if !s.o.IgnoreEOS && slices.Contains(s.target.m.Config.EOS, token) {
		return false
	}
	s.emitted++
	return !s.emit(token) && s.emitted < s.o.MaxTokens
}

// decode runs a decode pass over tokens that follow the cache, and calls each with the logits
// behind every one of them.
func (x *speculator) decode(tokens []int, each func(i int, z []float32) error) error {
	start := time.Now()
	if err := x.m.Forward(model.Pass{Phase: device.Decode, Cache: x.cache, Chunks: []model.Chunk{{Tokens: tokens}}}); err != nil {
		return err
	}
	rows := make([]int, len(tokens))
	for i := range rows {
		rows[i] = i
	}
	err := x.m.Logits(rows, each)
	if took := time.Since(start); x.step == 0 {
		x.step = took
	} else {
		x.step += (took - x.step) / 8
	}
	return err
}

// round proposes tokens, checks them, and emits those that are accepted and one more. It
// reports whether the sequence goes on.
func (s *speculation) round() (more bool, err error) {
	n := s.choose()
	proposals, q, err := s.propose(n)
	if err != nil {
		return false, err
	}
	last := len(s.text) - 1
	inputs := append([]int{s.text[last]}, proposals...)
	more, accepted := true, 0
	p := s.target.sampler
	done := false
	err = s.target.decode(inputs, func(i int, z []float32) (err error) {
		if done {
			return nil
		}
		token, same := 0, false
		if i < len(proposals) {
			token, same, err = p.Verify(z, proposals[i], q[i])
		} else {
			token, err = p.Next(z)
		}
		if err != nil {
			return err
		}
		if same {
			accepted++
		}
		done = !same
		if more = s.accept(token); !more {
			done = true
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	s.stats.Drafted, s.stats.Accepted, s.stats.Passes = s.stats.Drafted+len(proposals), s.stats.Accepted+accepted, s.stats.Passes+1
	if len(proposals) > 0 {
		s.rate += (float64(accepted)/float64(len(proposals)) - s.rate) / 8
	}
	// The caches keep the positions in front of the last token, which is the next input.
	for _, x := range []*speculator{s.target, s.draft} {
		if keep := len(s.text) - 1; x.cache.Len(0) > keep {
			if err := x.cache.Truncate(0, keep); err != nil {
				return false, err
			}
		}
	}
	return more, nil
}

// propose decodes n tokens with the draft. q are the distributions that they come from.
func (s *speculation) propose(n int) (tokens []int, q []Distribution, err error) {
	d := s.draft
	d.sampler.Follow(s.target.sampler)
	inputs := s.text[d.cache.Len(0):]
	for len(tokens) < n {
		err := d.decode(inputs, func(i int, z []float32) error {
			if i < len(inputs)-1 {
				return nil
			}
			token, dist, err := d.sampler.Propose(z)
			tokens, q = append(tokens, token), append(q, dist)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		inputs = tokens[len(tokens)-1:]
	}
	return tokens, q, nil
}

// choose says how many tokens to propose: as many as give the most tokens in a time, by the
// acceptance and the times of passes that were measured so far. A pass over proposals takes
// about as long as one over a single token, since reading the weights takes most of it.
func (s *speculation) choose() int {
	room := min(s.o.MaxTokens-s.emitted-1, s.target.room(len(s.text))-1, s.draft.room(len(s.text))-1)
	n := s.tokens
	if n == 0 {
		n = 4
		if s.target.step > 0 && s.draft.step > 0 {
			n = bestDraft(min(max(s.rate, 0.05), 0.95), s.draft.step.Seconds()/s.target.step.Seconds())
		}
	}
	return max(0, min(n, room))
}

// room is how many positions are left behind a text whose last token has none yet.
func (x *speculator) room(text int) int {
	return min(x.cache.MaxPositions, x.m.Config.MaxPositions) - (text - 1)
}

// bestDraft is the number of proposals with the most tokens in a time: n proposals, each of
// which is accepted with a probability, give (1-rate^(n+1))/(1-rate) tokens, in the time of
// one pass of the model and n of the draft, each of which takes a share of it.
func bestDraft(rate, share float64) int {
	best, most := 0, 0.0
	for n := range MaxDraft + 1 {
		if tokens := (1 - math.Pow(rate, float64(n+1))) / (1 - rate) / (1 + float64(n)*share); tokens > most {
			best, most = n, tokens
		}
	}
	return best
}
