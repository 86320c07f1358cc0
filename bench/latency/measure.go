package latency

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"mop/internal/progress"
	"mop/runtime/timing"
)

// Options of a measurement. The zero value is the usual one.
type Options struct {
	Progress progress.Func      // called after each run, outside its time
	Sample   func(Sample) error // called after each run, outside its time; an error ends the measurement
	Now      func() time.Time   // the clock; nil = time.Now, which is monotonic
	// OtherLoad is cumulative processor time of others; nil = not known.
	OtherLoad func() (others, steal time.Duration, ok bool)
	// More decides after the protocol's last round, and after every round that
	// follows, whether to do one more; nil = never. A caller that computes rows sets
	// the protocol's Runs to the number of rounds that were done.
	More func(rounds int, samples []Sample) bool
}

// Measure runs every model once a round, in an order that is shuffled again for each
// round, and returns the samples in the order in which they were taken, with discarded
// ones flagged. On an error, or when ctx ends, the samples so far come with it.
//
// A garbage collection precedes each run, or each round whose models take turns by steps,
// outside its time, so that no model pays for what another one left.
func Measure(ctx context.Context, p Protocol, models []Model, o Options) ([]Sample, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	prompts, err := commonPrompts(p, models)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	order := make([]int, len(models))
	for i := range order {
		order[i] = i
	}
	m := &measurement{Options: o, protocol: p, models: models, prompts: prompts, begin: o.Now()}
	r := p.rand(streamOrder)
	for ; m.round < p.Runs || o.More != nil && o.More(m.round, m.samples); m.round++ {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		groups := [][]int{order}
		if p.Turns != TurnsSteps {
			groups = slices.Collect(slices.Chunk(order, 1))
		}
		for n, group := range groups {
			if err := m.measure(ctx, group, n); err != nil {
				return m.samples, err
			}
		}
	}
	return m.samples, nil
}

// measurement is the state of Measure.
type measurement struct {
	Options
	protocol Protocol
	models   []Model
	prompts  [][]int
	begin    time.Time
	round    int
	samples  []Sample
}

// measure runs some models in turns. first is the position of the first one in the round.
func (m *measurement) measure(ctx context.Context, group []int, first int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var names []string
	var models []timing.InTurns
	for _, i := range group {
		names, models = append(names, m.models[i].Name), append(models, timing.InTurns{Generate: m.models[i].Generate})
	}
	runtime.GC()
	others, steal := m.load()
	runs, err := timing.MeasureInTurns(ctx, models, m.prompts, m.protocol.Out, m.Now)
	if err != nil {
		return fmt.Errorf("bench: %s: round %d: %w", strings.Join(names, ", "), m.round, err)
	}
	othersAfter, stealAfter := m.load()
	total := time.Duration(0)
	for _, one := range runs {
		total += one.Total()
	}
	for n, one := range runs {
		model := &m.models[group[n]]
		part := func(d time.Duration) time.Duration { // what was taken from the group, by time
			return time.Duration(float64(d) * float64(one.Total()) / float64(total))
		}
		m.samples = append(m.samples, Sample{
			Model:     model.Name,
			Round:     m.round,
			Position:  first + n,
			Discarded: m.round < m.protocol.Discard,
			Start:     one.Start.Sub(m.begin),
			Total:     one.Total(),
			TTFT:      one.TTFT(),
			Others:    part(othersAfter - others),
			Steal:     part(stealAfter - steal),
			Stages:    model.stages(one.TTFT()),
			Tokens:    one.Tokens,
		})
		m.Progress.Report(progress.Update{Phase: "latency runs", Done: len(m.samples), Total: max(m.protocol.Runs, m.round+1) * len(m.models)})
		if m.Sample != nil {
			if err := m.Sample(m.samples[len(m.samples)-1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// stages are those of the last run, of which the prompt's pass is what is left of the time
// to the first token; nil = there are none.
func (m *Model) stages(ttft time.Duration) *Stages {
	if m.Stages == nil {
		return nil
	}
	s := m.Stages()
	s.Prefill = ttft - s.Preprocess - s.Vision - s.Projection
	return &s
}

func (o Options) load() (others, steal time.Duration) {
	if o.OtherLoad != nil {
		others, steal, _ = o.OtherLoad()
	}
	return others, steal
}

// commonPrompts checks the models and samples the prompts that fit them all.
func commonPrompts(p Protocol, models []Model) ([][]int, error) {
	if len(models) == 0 {
		return nil, errors.New("bench: no model given")
	}
	var special []int
	vocab := models[0].Vocab
	seen := map[string]bool{}
	for _, s := range models {
		switch {
		case seen[s.Name]:
			return nil, fmt.Errorf("bench: %s: given twice", s.Name)
		case s.Context > 0 && p.In > s.Context+1-p.Out: // the last token out is not fed back
			return nil, fmt.Errorf("bench: %s: context is %d tokens, got %d in and %d out", s.Name, s.Context, p.In, p.Out)
		}
		seen[s.Name] = true
		special = append(special, s.SpecialTokens...)
		vocab = min(vocab, s.Vocab)
	}
	return p.Prompts(vocab, special)
}
