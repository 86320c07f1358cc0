package criterion

import (
	"context"
	"fmt"
	"math"
)

// latency is the divergence from the unpruned model for each millisecond that the
// candidate is faster than it:
//
//	KL(unpruned || candidate) / (latency of the unpruned model - latency of the candidate)
//
// in nats per millisecond, the latencies measured or predicted. The lowest is the best. A
// candidate that is not faster is not finite, and loses.
type latency struct{}

func (latency) Name() string { return "latency" }
func (latency) Summary() string {
	return "KL divergence for each millisecond gained, measured or predicted by --latency"
}
func (latency) Needs() Needs { return Needs{Reference: true, Latency: true} }

func (latency) Score(ctx context.Context, c Candidate) (float64, error) {
	if !(c.LatencyMS > 0 && c.DenseLatencyMS > 0) {
		return 0, fmt.Errorf("criterion latency: want the latencies of the candidate and the unpruned model, got %v and %v ms", c.LatencyMS, c.DenseLatencyMS)
	}
	divergence, err := kl{}.Score(ctx, c)
	if err != nil {
		return 0, err
	}
	gained := c.DenseLatencyMS - c.LatencyMS
	if gained <= 0 {
		return math.Inf(1), nil
	}
	return divergence / gained, nil
}

func (latency) Better(a, b float64) bool { return a < b }
