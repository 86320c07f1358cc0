//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"

	"mop/runtime/device"
)

var _ device.Stepper = (*Device)(nil)

// recorder gathers the launches of a step.
type recorder struct {
	calls       []call
	limit       int       // positions stay below
	ids, places *buffer   // the step's input and its outcome: [N] int32, [N, 2] int32
	kept        []*buffer // what the launches point to, of the device's own
}

// steps is a recorded step.
type steps struct {
	d         *Device
	r         *recorder
	recording recording
	seqs      []int
	takes     []func([]byte) error // of the steps under way, the oldest first
}

// inputs is where the ids of a pass lie.
func (d *Device) inputs(list []int32) pointer {
	if d.recorder != nil {
		return d.recorder.ids.p
	}
	return put(d, "ids", list)
}

// placed is where the rows' sequences and positions lie.
func (d *Device) placed(n int) pointer {
	if d.recorder != nil {
		return d.recorder.places.p
	}
	return d.need("places", 8*n, false)
}

// Record: see device.Stepper.
func (d *Device) Record(seqs []int, limit int, step func()) (device.Steps, error) {
	n := len(seqs)
	if d.err != nil || n == 0 {
		return nil, d.err
	}
	r := &recorder{limit: limit}
	for _, b := range []struct {
		to   **buffer
		cols int
	}{{&r.ids, n}, {&r.places, 2 * n}} {
		var err error
		if *b.to, err = d.zeroed(1, b.cols, b.cols, 4); err != nil {
			return nil, err
		}
	}
	d.recorder = r
	step()
	d.recorder = nil
	if d.err != nil {
		return nil, d.err
	}
	s := &steps{d: d, r: r, seqs: seqs}
	var err error
	if s.recording, err = d.driver.Record(r.calls); err != nil {
		err = fmt.Errorf("a step of %d launches: %w", len(r.calls), err)
		d.fail(err)
		return nil, d.err
	}
	return s, nil
}

// Choose: see device.Stepper.
func (d *Device) Choose(h device.Head, n int, by device.Draw) {
	if d.recorder == nil {
		d.fail(errors.New("choose: want it recorded"))
		return
	}
	var streams pointer
	if by.Temperature > 0 {
		if len(by.Streams) != n {
			d.fail(fmt.Errorf("choose: want a stream for each of %d rows, got %d", n, len(by.Streams)))
			return
		}
		b, err := d.alloc(1, n, n, 8)
		if err == nil {
			err = d.driver.Upload(b.p, 8*n, raw(by.Streams), 8*n)
		}
		if err != nil {
			d.fail(err)
			return
		}
		d.keep(b)
		streams = b.p
	}
	V := h.W.Shape()[0]
	hidden := d.end("end", h, 0, n)
	ldz := roundUp(V, 32)
	z := d.need("logits", n*ldz*4, false)
	d.form(device.Decode, halves{z, ldz}, hidden, n, h.W.(*weight), 0, V)
	d.choose(d.recorder.ids.p, z, ldz, V, n, float32(by.Temperature), streams, d.recorder.places.p, 1)
}

// Start: see device.Steps.
func (s *steps) Start(ids, positions []int) error {
	if len(ids) != len(s.seqs) || len(positions) != len(s.seqs) {
		return fmt.Errorf("cuda: want ids and positions of %d rows, got %d and %d", len(s.seqs), len(ids), len(positions))
	}
	list, places := make([]int32, len(ids)), make([][2]int32, len(ids))
	for i := range ids {
		list[i], places[i] = int32(ids[i]), [2]int32{int32(s.seqs[i]), int32(positions[i])}
	}
	for _, u := range []struct {
		b *buffer
		v []byte
	}{{s.r.ids, raw(list)}, {s.r.places, raw(places)}} {
		if s.d.err == nil {
			s.d.fail(s.d.driver.Upload(u.b.p, len(u.v), u.v, len(u.v)))
		}
	}
	s.takes = nil
	return s.d.err
}

// Queue: see device.Steps.
func (s *steps) Queue() error {
	if s.d.err != nil {
		return s.d.err
	}
	take, err := s.recording.Run(s.r.ids.p, 4*len(s.seqs))
	if err != nil {
		s.d.fail(fmt.Errorf("a step of %d launches: %w", len(s.r.calls), err))
		return s.d.err
	}
	s.takes = append(s.takes, take)
	return nil
}

// Next: see device.Steps.
func (s *steps) Next(ids []int) error {
	if s.d.err != nil {
		return s.d.err
	}
	if len(s.takes) == 0 || len(ids) != len(s.seqs) {
		return fmt.Errorf("cuda: want %d ids of a queued step, got room for %d of %d steps", len(s.seqs), len(ids), len(s.takes))
	}
	list := make([]int32, len(ids))
	if err := s.takes[0](raw(list)); err != nil {
		s.d.fail(fmt.Errorf("a step of %d launches: %w", len(s.r.calls), err))
	}
	s.takes = s.takes[1:]
	for i, id := range list {
		ids[i] = int(id)
	}
	return s.d.err
}

// Close: see device.Steps.
func (s *steps) Close() error { return s.recording.Close() }
