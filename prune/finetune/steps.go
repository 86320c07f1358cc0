package finetune

import (
	"context"
	"fmt"
	"time"

	"mop/runtime/dataset"
	"mop/runtime/device"
	"mop/runtime/random"
	"mop/runtime/train"
)

// Step is the report of one step, and a row of the log.
type Step struct {
	Step     int     `json:"step"` // from 1
	Loss     float64 `json:"loss"` // nats
	Rate     float64 `json:"lr"`
	GradNorm float64 `json:"grad_norm"` // before clipping
	Tokens   int     `json:"tokens"`    // that went through the model
	Seconds  float64 `json:"seconds"`
}

// Train takes the steps from step first on, counted from 0, and calls each after every step.
func Train(ctx context.Context, t *train.Trainer, examples []dataset.Example, o *Options, first int, each func(Step) error) error {
	if err := t.Reserve(longestPass(examples, o)); err != nil {
		return err
	}
	s := newSchedule(o, len(examples))
	for step := first; step < s.total; step++ {
		began := time.Now()
		batch := s.batch(step)
		t.ClearGradients()
		r := Step{Step: step + 1, Rate: s.rate(step)}
		for _, pass := range passes(examples, batch, o, step) {
			if err := ctx.Err(); err != nil {
				return err
			}
			nll, err := t.ForwardBackward(pass)
			if err != nil {
				return fmt.Errorf("step %d: %w", step+1, err)
			}
			for i, q := range pass {
				r.Loss += nll[i] * float64(q.Scale)
				r.Tokens += len(q.Tokens)
			}
		}
		var err error
		if r.GradNorm, err = t.GradientNorm(); err != nil {
			return fmt.Errorf("step %d: %w", step+1, err)
		}
		if r.Loss-r.Loss != 0 || r.GradNorm-r.GradNorm != 0 {
			return fmt.Errorf("step %d: not finite: loss %v, gradient %v, on the rows %v of %s", step+1, r.Loss, r.GradNorm, rowsOf(examples, batch), o.Data)
		}
		if err := t.Step(s.adam(step, r.GradNorm)); err != nil {
			return fmt.Errorf("step %d: %w", step+1, err)
		}
		r.Seconds = time.Since(began).Seconds()
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// passes divides a step's examples into passes of the model: as many consecutive examples as
// fit into the tokens of a pass, at least one. The weight of a label in the loss is
// 1/(its example's labels)/(the step's examples), or 1/(the step's labels).
func passes(examples []dataset.Example, batch []int, o *Options, step int) [][]train.Sequence {
	labels := 0
	for _, i := range batch {
		labels += examples[i].Targets()
	}
	var passes [][]train.Sequence
	free := 0 // tokens that still fit into the last pass
	for n, i := range batch {
		e := examples[i]
		q := train.Sequence{Tokens: make([]int, len(e.Tokens)), Labels: make([]int, len(e.Tokens)), Stream: random.Key(o.Seed, fmt.Sprintf("dropout of step %d example %d", step, n))}
		for t, token := range e.Tokens {
			if q.Tokens[t], q.Labels[t] = int(token), -1; e.IsTarget(t + 1) {
				q.Labels[t] = int(e.Tokens[t+1])
			}
		}
		if q.Scale = float32(1 / (float64(e.Targets()) * float64(len(batch)))); o.Average == Tokens {
			q.Scale = float32(1 / float64(labels))
		}
		if len(passes) > 0 && len(q.Tokens) <= free {
			passes[len(passes)-1] = append(passes[len(passes)-1], q)
			free -= len(q.Tokens)
			continue
		}
		passes = append(passes, []train.Sequence{q})
		free = o.passTokens() - len(q.Tokens)
	}
	return passes
}

// passTokens is how many tokens of several examples a pass may have.
func (o *Options) passTokens() int {
	if o.Packing {
		return max(o.PassTokens, o.MaxLength)
	}
	return o.PassTokens
}

// SetPassTokens sets the tokens of a pass to what keeps the device busy, unless they are set.
func (o *Options) SetPassTokens(dev device.Device) {
	if o.PassTokens == 0 {
		o.PassTokens = dev.Capabilities().TrainRows
	}
}

// rowsOf lists the rows of a batch's examples in the file.
func rowsOf(examples []dataset.Example, batch []int) []int {
	var out []int
	for _, i := range batch {
		out = append(out, examples[i].Row)
	}
	return out
}

// longestPass is the largest number of tokens of a pass.
func longestPass(examples []dataset.Example, o *Options) int {
	n := 0
	for _, e := range examples {
		n = max(n, len(e.Tokens))
	}
	return max(n, min(o.passTokens(), n*o.Batch))
}
