//go:build cuda

package driver

import (
	"errors"
	"fmt"
	"log/slog"

	"gorgonia.org/cu"
)

// Record: see Driver. Where the driver does not support overlapping kernels in a graph,
// they do not overlap from then on, which is logged.
func (g *GPU) Record(calls []Call) (Recording, error) {
	r := &graphRecording{gpu: g, calls: calls}
	err := g.do(func() error {
		for _, c := range calls { // what a capture must not contain: compiling, attributes
			f, err := g.function(c.Kernel)
			if err == nil {
				err = f.allow(c.Shared)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.Kernel, err)
			}
		}
		err := r.capture(calls)
		if errors.Is(err, errUnsupported) && g.Overlap {
			slog.Warn("cuda: launches do not overlap in graphs here", "driver", g.info.Driver, "error", err)
			g.Overlap = false
			err = r.capture(calls)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *graphRecording) capture(calls []Call) error {
	if err := beginCapture(&r.gpu.stream); err != nil {
		return err
	}
	r.gpu.capturing = true
	var failed error
	for _, c := range calls {
		if failed = r.gpu.launch(c); failed != nil {
			failed = fmt.Errorf("%s: %w", c.Kernel, failed)
			break
		}
	}
	r.gpu.capturing = false
	graph, err := endCapture(&r.gpu.stream) // after a failure too: the stream must stop capturing
	if failed == nil {
		r.graph = graph
		return err
	}
	if err == nil {
		failed = errors.Join(failed, graph.destroy())
	}
	return failed
}

// graphRecording is an instantiated graph, and pinned memory for the results of its runs.
type graphRecording struct {
	gpu     *GPU
	calls   []Call
	graph   graph
	results []result
	next    int
}

type result struct {
	b     []byte
	ready cu.Event
	n     int
}

// Run queues the recorded launches and a copy of n bytes from p.
func (r *graphRecording) Run(p Pointer, n int) (func(dst []byte) error, error) {
	g := r.gpu
	var s *result
	err := g.do(func() error {
		const ahead = 4
		if len(r.results) < ahead {
			b, err := pinned(max(n, 64))
			if err != nil {
				return err
			}
			e, err := cu.MakeEvent(cu.DisableTiming)
			if err != nil {
				return errors.Join(err, unpin(b))
			}
			r.results = append(r.results, result{b: b, ready: e})
		}
		s = &r.results[r.next%len(r.results)]
		r.next++
		if err := r.launch(); err != nil {
			return err
		}
		if err := copyOut(s.b[:n], p, &g.stream); err != nil {
			return err
		}
		return s.ready.Record(g.stream)
	})
	if err != nil {
		return nil, err
	}
	return func(dst []byte) error {
		return g.do(func() error {
			err := s.ready.Synchronize()
			copy(dst, s.b[:n])
			return err
		})
	}, nil
}

// launch queues the graph, or its launches one by one where they are timed.
func (r *graphRecording) launch() error {
	if r.gpu.timing == nil {
		return r.graph.launch(&r.gpu.stream)
	}
	for _, c := range r.calls {
		if err := r.gpu.launch(c); err != nil {
			return fmt.Errorf("%s: %w", c.Kernel, err)
		}
	}
	return nil
}

func (r *graphRecording) Close() error {
	return r.gpu.do(func() error {
		err := errors.Join(r.gpu.stream.Synchronize(), r.graph.destroy())
		for i := range r.results {
			err = errors.Join(err, unpin(r.results[i].b), cu.DestroyEvent(&r.results[i].ready))
		}
		return err
	})
}
