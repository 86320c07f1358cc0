package compare

import (
	"context"
	"fmt"
	"time"

	"mop/bench/latency"
	"mop/bench/trace"
	"mop/internal/build"
	"mop/runtime/device"
)

// tracedTokens is how many tokens a traced run generates at most: its steps are all alike.
const tracedTokens = 8

// traceAll traces a short run of each model, after the same run without a trace.
func traceAll(ctx context.Context, dev device.Device, models []latency.Model, p latency.Protocol, each func(trace.Pass) error) error {
	out := min(p.Out, tracedTokens)
	for _, m := range models {
		prompts, err := p.Prompts(m.Vocab, m.SpecialTokens)
		if err != nil {
			return err
		}
		run := func() error { return m.Generate(ctx, prompts, out, func() {}) }
		begin := time.Now()
		if err := run(); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		pass := trace.Pass{Title: fmt.Sprintf("%s: batch %d, %d tokens in, %d out", m.Name, p.Batch, p.In, out), Hardware: dev.Capabilities().Hardware, Commit: build.Commit(), Wall: time.Since(begin)}
		if pass.Launches, pass.Limits, err = trace.Record(dev, run); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		if err := each(pass); err != nil {
			return err
		}
	}
	return nil
}
