//go:build cuda || cudaemu

package cuda

import (
	"errors"
	"fmt"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

var _ device.GraphDecoder = (*Device)(nil)

// recorder gathers the launches of a step.
type recorder struct {
	calls       []driver.Call
	limit       int       // positions stay below
	ids, places *buffer   // the step's input and its outcome: [N] int32, [N, 2] int32
	seen        *buffer   // ids that a penalty is for, a bit each: [N, V/32] uint32, or nil
	kept        []*buffer // what the launches point to, of the device's own
	last        operation
}

// decodeGraph is a recorded step.
type decodeGraph struct {
	d         *Device
	r         *recorder
	recording driver.Recording
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

// Capture: see device.Stepper.
func (d *Device) Capture(seqs []int, limit int, step func()) (device.DecodeGraph, error) {
	n := len(seqs)
	if d.err != nil || n == 0 {
		return nil, d.err
	}
	d.begin("record")
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
	r.last = d.doing
	if d.err != nil {
		return nil, d.told()
	}
	s := &decodeGraph{d: d, r: r, seqs: seqs}
	var err error
	s.recording, err = d.driver.Record(r.calls)
	if errors.Is(err, driver.ErrMemory) {
		return nil, fmt.Errorf("cuda: %w: a step of %d launches, have %s: %w", device.ErrMemory, len(r.calls), d.free(), err)
	}
	if err != nil {
		return nil, d.failed(s.named(err))
	}
	return s, nil
}

// Start: see device.Steps.
func (s *decodeGraph) Start(ids, positions []int, seen [][]int) error {
	if len(ids) != len(s.seqs) || len(positions) != len(s.seqs) || s.r.seen != nil && len(seen) != len(s.seqs) {
		return fmt.Errorf("cuda: want ids, positions and ids seen of %d rows, got %d, %d and %d", len(s.seqs), len(ids), len(positions), len(seen))
	}
	s.d.begin("start", s.r.ids.of("ids"), s.r.places.of("places"))
	list, places := make([]int32, len(ids)), make([][2]int32, len(ids))
	for i := range ids {
		list[i], places[i] = int32(ids[i]), [2]int32{int32(s.seqs[i]), int32(positions[i])}
	}
	s.d.upload(s.r.ids, raw(list))
	s.d.upload(s.r.places, raw(places))
	if b := s.r.seen; b != nil {
		bits := make([]uint32, b.rows*b.cols)
		for i, row := range seen {
			for _, id := range row {
				if id < 0 || id/32 >= b.cols {
					return fmt.Errorf("cuda: want ids seen below %d, got %d", 32*b.cols, id)
				}
				bits[i*b.cols+id/32] |= 1 << (id % 32)
			}
		}
		s.d.upload(b, raw(bits))
	}
	s.takes = nil
	return s.d.err
}

// Launch: see device.Steps.
func (s *decodeGraph) Launch() error {
	if s.d.err != nil {
		return s.d.err
	}
	take, err := s.recording.Run(s.r.ids.p, 4*len(s.seqs))
	if err != nil {
		return s.d.failed(s.named(err))
	}
	s.takes = append(s.takes, take)
	return nil
}

// Wait: see device.Steps.
func (s *decodeGraph) Wait(ids []int) error {
	if s.d.err != nil {
		return s.d.err
	}
	if len(s.takes) == 0 || len(ids) != len(s.seqs) {
		return fmt.Errorf("cuda: want %d ids of a queued step, got room for %d of %d steps", len(s.seqs), len(ids), len(s.takes))
	}
	list := make([]int32, len(ids))
	if err := s.takes[0](raw(list)); err != nil {
		return s.d.failed(s.named(err))
	}
	s.takes = s.takes[1:]
	for i, id := range list {
		ids[i] = int(id)
	}
	return s.d.err
}

// named says what a step consists of: a graph's failure does not.
func (s *decodeGraph) named(err error) error {
	c := s.r.calls
	if len(c) == 0 {
		return err
	}
	return fmt.Errorf("a step of %d launches, %s to %s, for %d sequences up to %v: %w", len(c), c[0].Kernel, c[len(c)-1].Kernel, len(s.seqs), s.r.last, err)
}

// Close: see device.Steps.
func (s *decodeGraph) Close() error { return s.recording.Close() }
