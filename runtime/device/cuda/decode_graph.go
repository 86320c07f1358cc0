//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

var _ device.GraphDecoder = (*Device)(nil)

// recorder collects the launches of a decode step that is captured.
type recorder struct {
	calls    []driver.Call
	works    []work // of the calls, for traces
	rows     *decodeRows
	n        int       // number of rows of the step
	limit    int       // all positions are below it
	retained []*buffer // scratch buffers and tables that the launches use
	last     operation
}

// free releases the memory that the step retained.
func (r *recorder) free() {
	for _, b := range r.retained {
		b.release()
	}
	r.retained = nil
}

// decodeGraph is a captured decode step.
type decodeGraph struct {
	closed    bool
	d         *Device
	recorder  *recorder
	recording driver.Recording
	waits     []func([]byte) error // of the steps that are queued, the oldest first
}

// tokenInputs returns the address of the tokens of a pass [N]. It uploads them, unless the
// pass is captured and reads those of its decode rows.
func (d *Device) tokenInputs(list []int32) pointer {
	if d.recorder != nil {
		return d.recorder.rows.tokensAt()
	}
	return uploadScratch(d, scratchTokens, list)
}

// rowPositions returns the address of the slot and position of every row [N, 2].
func (d *Device) rowPositions(n int) pointer {
	if d.recorder != nil {
		return d.recorder.rows.positionsAt()
	}
	return d.scratchMemory(scratchRowPositions, 8*n, false)
}

// Capture: see device.GraphDecoder.
func (d *Device) Capture(rows device.DecodeRows, n, limit int, step func()) (device.DecodeGraph, error) {
	of := rows.(*decodeRows)
	if n < 1 || n > of.n {
		return nil, fmt.Errorf("cuda: capture: want 1 to %d rows, got %d", of.n, n)
	}
	if d.err != nil {
		return nil, d.err
	}
	d.begin("capture")
	r := &recorder{rows: of, n: n, limit: limit}
	d.recorder = r
	d.retain(of.state)
	d.retain(of.seen)
	step()
	d.recorder = nil
	r.last = d.currentOperation
	if d.err != nil {
		r.free()
		return nil, d.takeError()
	}
	g := &decodeGraph{d: d, recorder: r}
	var err error
	g.recording, err = d.driver.Record(r.calls)
	if err != nil {
		r.free()
	}
	if errors.Is(err, driver.ErrMemory) {
		return nil, fmt.Errorf("cuda: %w: a step of %d launches, have %s: %w", device.ErrMemory, len(r.calls), d.free(), err)
	}
	if err != nil {
		return nil, d.failWith(g.describe(err))
	}
	return g, nil
}

// Launch: see device.DecodeGraph.
func (g *decodeGraph) Launch() error {
	d := g.d
	d.begin("decode step", operand{name: "rows", rows: g.recorder.n, cols: 1})
	g.recorder.rows.upload()
	d.gathered = gatheredRoPE{} // the step gathers others
	if d.err != nil {
		return d.err
	}
	for i, c := range g.recorder.calls {
		d.trace(c.Kernel, c.Grid, g.recorder.works[i])
	}
	take, err := g.recording.Run(g.recorder.rows.tokensAt(), 4*g.recorder.n)
	if err != nil {
		return d.failWith(g.describe(err))
	}
	g.waits = append(g.waits, take)
	return nil
}

// Wait: see device.DecodeGraph.
func (g *decodeGraph) Wait(tokens []int) error {
	if g.d.err != nil {
		return g.d.err
	}
	if len(g.waits) == 0 || len(tokens) != g.recorder.n {
		return fmt.Errorf("cuda: want the %d tokens of a queued step, got room for %d, and %d steps", g.recorder.n, len(tokens), len(g.waits))
	}
	list := make([]int32, len(tokens))
	if err := g.waits[0](bytesOf(list)); err != nil {
		return g.d.failWith(g.describe(err))
	}
	g.waits = g.waits[1:]
	for i, token := range list {
		tokens[i] = int(token)
	}
	return g.d.err
}

// describe adds the step's kernels and operations to the error of a graph.
func (g *decodeGraph) describe(err error) error {
	c := g.recorder.calls
	if len(c) == 0 {
		return err
	}
	return fmt.Errorf("a step of %d launches, %s to %s, for [%d 1] rows up to %v: %w", len(c), c[0].Kernel, c[len(c)-1].Kernel, g.recorder.n, g.recorder.last, err)
}

// Close: see device.DecodeGraph.
func (g *decodeGraph) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	err := g.recording.Close() // waits for the queued steps
	g.recorder.free()
	return err
}
